"""Changes the alert rules one detail at a time and runs their tests on each changed rule. A change that no test
detects is a gap in the tests. Run by ops/check; with an alert's name as argument, only that alert is changed."""

import copy
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

PROMETHEUS = Path(__file__).parent / "prometheus"
# Changes that make no difference, with the reason.
EQUIVALENT = {
    "PersonaRunnerNoFinishedRun: mana_persona_runner_last_finished_run_timestamp_seconds{}[2h] x 2": (
        "a timestamp of the last two hours was seen in the last two hours, and an older one does not count"
    ),
    "PersonaRunnerNoFinishedRun: mana_persona_runner_last_finished_run_timestamp_seconds{}[2d] x 2": (
        "the same for two days"
    ),
}

FLIPPED = {">": "<", "<": ">", ">=": "<", "<=": ">", "==": "!="}
# The same comparison with the boundary value on the other side.
SHIFTED = {">": ">=", "<": "<=", ">=": ">", "<=": "<"}
NEGATED = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
TOKEN = re.compile(r'\s*([a-zA-Z_]\w*|(?:\d+[smhd])+\b|\d+(?:\.\d+)?|"[^"]*"|=~|!~|[<>=!]=|.)', re.DOTALL)
# Seconds per unit of a duration.
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Binary operators by precedence, lowest first, as in PromQL.
LEVELS = (("or",), ("and", "unless"), tuple(FLIPPED) + ("!=",), ("+", "-"), ("/", "*"))


class Parser:
    """Parses the part of PromQL that the rules use. A node is a list: its kind, then its parts."""

    def __init__(self, text):
        self.tokens = TOKEN.findall(text.strip())
        self.place = 0

    def peek(self):
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def take(self, expected=None):
        token = self.peek()
        if token is None or expected not in (None, token):
            raise SyntaxError(f"{token!r} where {expected!r} belongs, before {self.tokens[self.place:][:5]}")
        self.place += 1
        return token

    def took(self, token):
        if self.peek() != token:
            return False
        self.place += 1
        return True

    def parse(self):
        node = self.binary(0)
        if self.peek() is not None:
            raise SyntaxError(f"not understood: {self.tokens[self.place:][:5]}")
        return node

    def binary(self, level):
        if level == len(LEVELS):
            return self.postfix()
        left = self.binary(level + 1)
        while self.peek() in LEVELS[level]:
            operator, words = self.take(), []
            while self.peek() in ("bool", "on", "ignoring", "group_left"):
                words.append([self.take(), self.labels() if self.peek() == "(" else None])
            left = ["binary", operator, words, left, self.binary(level + 1)]
        return left

    def labels(self):
        found = []
        self.take("(")
        while not self.took(")"):
            found.append(self.take())
            self.took(",")
        return found

    def postfix(self):
        node = self.atom()
        while self.took("["):
            window, step = self.take(), None
            if self.took(":"):
                step = self.take()
            self.take("]")
            node = ["window", node, window, step]
        return node

    def atom(self):
        token = self.take()
        if token == "(":
            node = self.binary(0)
            self.take(")")
            return node
        if token[0].isdigit():
            return ["number", token]
        grouping = [self.take(), self.labels()] if self.peek() in ("by", "without") else None
        if grouping or self.peek() == "(":
            arguments = []
            self.take("(")
            while not self.took(")"):
                arguments.append(self.binary(0))
                self.took(",")
            return ["call", token, grouping, *arguments]
        matchers = []
        if self.took("{"):
            while not self.took("}"):
                matchers.append([self.take(), self.take(), self.take()])
                self.took(",")
        return ["series", token, matchers]


def write(node):
    match node:
        case ["number", text]:
            return text
        case ["series", name, matchers]:
            return name + "{" + ", ".join("".join(matcher) for matcher in matchers) + "}"
        case ["window", inner, window, step]:
            return f"({write(inner)})[{window}:{step}]" if step else f"{write(inner)}[{window}]"
        case ["call", name, grouping, *arguments]:
            how = f" {grouping[0]} ({', '.join(grouping[1])}) " if grouping else ""
            return f"{name}{how}({', '.join(map(write, arguments))})"
        case ["binary", operator, words, left, right]:
            how = "".join(f" {word}" if labels is None else f" {word} ({', '.join(labels)})" for word, labels in words)
            return f"({write(left)} {operator}{how} {write(right)})"


def duration(text, factor):
    seconds = sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+)([smhd])", text))
    return f"{round(seconds * factor)}s"


def moved(text):
    """A slightly smaller and a slightly larger number: one apart for integers up to 10, otherwise two percent."""
    if "." not in text and float(text) <= 10:
        return [str(int(text) - 1), str(int(text) + 1)]
    return [f"{float(text) * factor:g}" for factor in (0.98, 1.02)]


def own_changes(node):
    """The replacements for this node with unchanged parts: a description and the new node."""
    match node:
        case ["number", text]:
            yield from ((f"{text} -> {other}", ["number", other]) for other in moved(text))
        case ["series", name, matchers]:
            for n, (label, operator, value) in enumerate(matchers):
                yield f"{write(node)}: {label} removed", ["series", name, matchers[:n] + matchers[n + 1 :]]
                negated = [label, NEGATED[operator], value]
                others = [*matchers[:n], negated, *matchers[n + 1 :]]
                yield f"{write(node)}: {label} negated", ["series", name, others]
        case ["window", inner, window, step]:
            for factor in (0.5, 2):
                yield f"{write(node)} x {factor}", ["window", inner, duration(window, factor), step]
                if step:
                    yield f"{write(node)}, its step x {factor}", ["window", inner, window, duration(step, factor)]
        case ["call", name, grouping, *arguments]:
            if grouping:
                for label in grouping[1]:
                    kept = [grouping[0], [other for other in grouping[1] if other != label]]
                    yield f"{grouping[0]} {label} removed", ["call", name, kept, *arguments]
            if name.endswith("_over_time") and arguments[-1][3] is None:
                yield f"{name} removed", arguments[-1][1]
        case ["binary", operator, words, left, right]:
            for table, how in ((FLIPPED, "flipped"), (SHIFTED, "boundary moved")):
                if operator in table:
                    yield f"{operator} {how}", ["binary", table[operator], words, left, right]
            for n, (word, _) in enumerate(words):
                if word == "bool":
                    yield "bool removed", ["binary", operator, words[:n] + words[n + 1 :], left, right]
            if operator in ("and", "unless", "or", "/", "+", "-"):
                yield f"{operator} {write(right)} removed", left
            if operator in ("and", "or", "-"):
                yield f"{write(left)} {operator} removed", right


def changes(node):
    yield from own_changes(node)
    for n, part in enumerate(node):
        # The parts that are nodes; matchers, labels and words have no kind.
        if isinstance(part, list) and part and part[0] in ("number", "series", "window", "call", "binary"):
            for what, new in changes(part):
                yield what, [*node[:n], new, *node[n + 1 :]]


def mutants(rule):
    def mutant(**fields):
        return {key: value for key, value in {**copy.deepcopy(rule), **fields}.items() if value is not None}

    for what, node in changes(Parser(rule["expr"]).parse()):
        yield what, mutant(expr=write(node))
    if "for" in rule:
        yield "for removed", mutant(**{"for": None})
        for factor in (0.5, 2):
            yield f"for x {factor}", mutant(**{"for": duration(rule["for"], factor)})
    other = "warning" if rule["labels"]["severity"] == "critical" else "critical"
    yield "severity changed", mutant(labels={"severity": other})
    for name in rule["annotations"]:
        kept = {key: value for key, value in rule["annotations"].items() if key != name}
        yield f"{name} removed", mutant(annotations=kept)


def passes(rule, documents):
    """Whether the tests of this rule alone succeed; a rule that promtool refuses does not pass."""
    with tempfile.TemporaryDirectory() as folder:
        group = {"name": "mutant", "rules": [rule]}
        (Path(folder) / "alerts.yml").write_text(yaml.safe_dump({"groups": [group]}))
        names = [f"{n}_test.yml" for n in range(len(documents))]
        for name, document in zip(names, documents):
            (Path(folder) / name).write_text(yaml.safe_dump(document))
        command = ["promtool", "test", "rules", *names]
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=60).returncode == 0


def tests_of(alert, documents):
    """The tests of this alert, without the cases of other alerts, grouped by file: each file has its own interval."""
    chosen = []
    for document in documents:
        tests = []
        for test in document["tests"]:
            cases = [case for case in test["alert_rule_test"] if case["alertname"] == alert]
            if cases:
                tests.append({**test, "alert_rule_test": cases})
        if tests:
            chosen.append({**document, "rule_files": ["alerts.yml"], "tests": tests})
    return chosen


def main():
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    # All values are read as text: YAML would read samples such as 0x10 as hexadecimal numbers.
    files = sorted(PROMETHEUS.glob("*_test.yml"))
    documents = [yaml.load(file.read_text(), Loader=yaml.BaseLoader) for file in files]
    rules = [rule for rule in group["rules"] if rule["alert"] in (sys.argv[1:] or [rule["alert"]])]
    jobs, problems, seen = [], [], set()
    for rule in rules:
        alert, tests = rule["alert"], tests_of(rule["alert"], documents)
        unchanged = {**rule, "expr": write(Parser(rule["expr"]).parse())}
        jobs.append((f"{alert}: unchanged, written anew", unchanged, tests, True))
        for what, mutant in mutants(rule):
            name = f"{alert}: {what}"
            seen.add(name)
            jobs.append((name, mutant, tests, name in EQUIVALENT))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda job: passes(job[1], job[2]), jobs)
        for (name, mutant, _, expected), passed in zip(jobs, results):
            if passed != expected:
                verdict = "no test notices" if passed else "a test fails"
                problems.append(f"{name}: {verdict}: {mutant['expr'].strip()}")
    if not sys.argv[1:]:
        unknown = sorted(set(EQUIVALENT) - seen)
        problems += [f"{name}: said to make no difference, but there is no such change" for name in unknown]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(jobs) - len(rules)} changes of {len(rules)} alerts: {len(problems)} problems")
    sys.exit(bool(problems) or not jobs)


main()
