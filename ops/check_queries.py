"""Runs every query of every panel against a Prometheus that has scraped a real run, and fails if a query is
refused, empty or not a number. Then requests the alerts: none may be pending, firing or failing.
Run by ops/check with two addresses: the server for queries and the server that evaluates the alerts."""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DASHBOARD = Path(__file__).parent / "grafana/persona-runner.json"
# The values that Grafana would insert. The window covers the whole run.
VARIABLES = {"$__rate_interval": "2m", "$instance": ".*"}
# Fallbacks at the end of queries whose other part is empty after a good day, or with a Prometheus without a
# probe. A fallback would also hide a query that is empty because of a misspelt label, so the check removes
# it.
FALLBACKS = {" > 0) or on () vector(0)": ")", " or on () vector(-1)": ""}


def ask(prometheus, path, **parameters):
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error).get("error", str(error))) from error


def trouble(prometheus, query, legend):
    """The error in a query or in the legend of its series, or None."""
    for fallback, rest in FALLBACKS.items():
        if query.endswith(fallback):
            query = query.removesuffix(fallback) + rest
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    if "$" in query:
        return "a variable that this check does not know"
    try:
        result = ask(prometheus, "query", query=query)["result"]
    except ValueError as error:
        return str(error)
    if not result:
        return "empty"
    if all(sample["value"][1] == "NaN" for sample in result):
        return "not a number"
    for label in re.findall(r"{{(\w+)}}", legend):
        if any(label not in sample["metric"] for sample in result):
            return f"a series without the label {label} of the legend"
    return None


def main():
    prometheus, alerting = sys.argv[1:]
    queries = failures = 0
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            queries += 1
            problem = trouble(prometheus, target["expr"], target["legendFormat"])
            if problem:
                failures += 1
                print(f"{panel['title']} {target['refId']}: {problem}: {target['expr']}", file=sys.stderr)
    print(f"{queries} queries of the dashboard, {failures} failed")

    rules = [rule for group in ask(alerting, "rules")["groups"] for rule in group["rules"]]
    for rule in rules:
        if rule["health"] != "ok" or rule["state"] != "inactive":
            failures += 1
            print(f"{rule['name']}: {rule['health']}, {rule['state']} {rule.get('lastError', '')}", file=sys.stderr)
    print(f"{len(rules)} alerts evaluated, none may be pending or firing after a good day")
    sys.exit(bool(failures) or not queries or not rules)


main()
