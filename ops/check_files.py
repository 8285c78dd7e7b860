"""Checks what promtool does not check: the alerts against their tests and the runbook, the dashboard's layout,
and that METRICS.md lists every metric that they use. Run by ops/check."""

import json
import re
import sys
from pathlib import Path

import jsonschema
import yaml

OPS = Path(__file__).parent
# Families that no panel shows, with the reason.
NOT_SHOWN = {
    "process_max_fds": "a limit that does not move; beside it the open ones would be a flat line",
    "process_threads": "the same at all times",
    "process_virtual_memory_bytes": "reserved addresses, of which nothing follows",
}
problems = []


def complain(problem):
    problems.append(problem)


def load_yaml(name):
    return yaml.safe_load((OPS / name).read_text())


def anchors(markdown):
    """The anchors of the headings, in the form that code hosts generate."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def check_alerts(rules, runbook):
    known = anchors(runbook)
    for rule in rules:
        name, annotations = rule["alert"], rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in ("critical", "warning"):
            complain(f"{name}: no severity")
        for annotation in ("summary", "description"):
            if not annotations.get(annotation):
                complain(f"{name}: no {annotation}")
        file, _, anchor = annotations.get("runbook_url", "").partition("#")
        if file != "ops/RUNBOOK.md" or anchor not in known:
            complain(f"{name}: the runbook has no section #{anchor}")
    alerts = {rule["alert"].lower() for rule in rules}
    for anchor in sorted(known):
        if anchor.startswith("personarunner") and anchor not in alerts:
            complain(f"the runbook has a section on {anchor}, which is no alert")


def check_runbook(runbook, dashboard, pages):
    """Checks that everything the runbook names exists: panels (bold); routes, commands and variables (README.md, docs/*.md)."""
    panels = {panel["title"] for panel in dashboard["panels"]}
    for name in re.findall(r"\*\*(.+?)\*\*", runbook, re.DOTALL):
        if " ".join(name.split()) not in panels:
            complain(f"runbook: the dashboard has no panel {name}")
    routes = re.findall(r"(?:\$RUNNER|GET |POST |`)(/(?:health|ready|metrics|diag|control)[a-z/]*)", runbook)
    commands = re.findall(r"`(mana-persona-runner(?: [a-z]+)+)", runbook)
    variables = re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", runbook)
    for found in (routes, commands, variables):
        if not found:
            complain("runbook: it names no route, no command or no variable, or this check no longer sees them")
        for name in sorted(set(found)):
            if name.rstrip("/") not in pages:
                complain(f"runbook: neither README.md nor a page of docs/ knows {name}")


def instances(test):
    found = (re.search(r'instance="([^"]*)"', series["series"]) for series in test["input_series"])
    return {match.group(1) for match in found if match}


def check_alert_tests(rules, tests):
    """Checks that every alert fires in a test, and stays quiet at another time or for another instance."""
    fires, quiet = set(), set()
    for test in tests:
        for case in test.get("alert_rule_test", []):
            expected = case.get("exp_alerts") or []
            if expected:
                fires.add(case["alertname"])
            if len(expected) < len(instances(test)):
                quiet.add(case["alertname"])
    for rule in rules:
        if rule["alert"] not in fires:
            complain(f"{rule['alert']}: no test in which it fires")
        if rule["alert"] not in quiet:
            complain(f"{rule['alert']}: no test in which it does not fire")


def overlap(a, b):
    a, b = a["gridPos"], b["gridPos"]
    apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    return not (apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"])


def check_dashboard(dashboard, schema):
    validator = jsonschema.Draft7Validator(schema)
    for error in validator.iter_errors(dashboard):
        complain(f"dashboard: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}")
    panels = dashboard["panels"]
    if len({panel["id"] for panel in panels}) != len(panels):
        complain("dashboard: two panels share an id")
    for n, panel in enumerate(panels):
        if panel["gridPos"]["x"] + panel["gridPos"]["w"] > 24:
            complain(f"dashboard: {panel['title']} sticks out")
        for other in panels[n + 1 :]:
            if overlap(panel, other):
                complain(f"dashboard: {panel['title']} lies on {other['title']}")
        references = [target["refId"] for target in panel.get("targets", [])]
        if len(set(references)) != len(references):
            complain(f"dashboard: two queries of {panel['title']} share a refId")


def check_names(where, text, table):
    for name in sorted(set(re.findall(r"\b(?:mana_persona_runner|process)_\w+", text))):
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        if f"`{name}`" not in table and f"`{family}`" not in table:
            complain(f"{where}: METRICS.md does not know {name}")


def check_families(table, dashboard_text):
    """Checks that each family is either on the dashboard or left out on purpose."""
    for family in re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE):
        is_shown = re.search(rf"\b{family}(_bucket|_sum|_count)?\b", dashboard_text)
        if bool(is_shown) == (family in NOT_SHOWN):
            complain(f"dashboard: {family} is {'shown' if is_shown else 'not shown'}, unlike what NOT_SHOWN says")


def main():
    rules = [rule for group in load_yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    dashboard_text = (OPS / "grafana/persona-runner.json").read_text()
    dashboard = json.loads(dashboard_text)
    table = (OPS / "METRICS.md").read_text()
    runbook = (OPS / "RUNBOOK.md").read_text()
    check_alerts(rules, runbook)
    pages = [OPS.parent / "README.md", *sorted((OPS.parent / "docs").glob("*.md"))]
    check_runbook(runbook, dashboard, "\n".join(page.read_text() for page in pages))
    check_families(table, dashboard_text)
    files = [path.relative_to(OPS) for path in sorted(OPS.glob("prometheus/*_test.yml"))]
    check_alert_tests(rules, [test for file in files for test in load_yaml(file)["tests"]])
    check_dashboard(dashboard, json.loads((OPS / "grafana/dashboard.schema.json").read_text()))
    for rule in rules:
        check_names(rule["alert"], rule["expr"], table)
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            check_names(panel["title"], target["expr"], table)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(rules)} alerts, {len(dashboard['panels'])} panels: {len(problems)} problems")
    sys.exit(bool(problems))


main()
