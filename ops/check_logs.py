"""Applies promtail's stages, as far as ops/promtail/scrape.yml uses them, to a log that the daemon has written.
Fails if a stage finds nothing, a time cannot be parsed, or a label has many values. Run by ops/check with the
path of the log file."""

import datetime
import json
import sys
from pathlib import Path

import yaml

SCRAPE = Path(__file__).parent / "promtail/scrape.yml"
MOST_VALUES = 5
KEYS = ["ts", "level", "service", "msg", "data"]


def apply(stages, line):
    """The labels that promtail would extract from a line."""
    found, labels = {}, {}
    for stage in stages:
        (kind, options), = stage.items()
        if kind == "json":
            parsed = json.loads(line)
            if list(parsed) != KEYS:
                raise ValueError(f"its keys are {list(parsed)}")
            found |= {name: parsed[expression or name] for name, expression in options["expressions"].items()}
        elif kind == "timestamp":
            if options["format"] != "RFC3339Nano":
                raise ValueError(f"this check does not know the format {options['format']}")
            datetime.datetime.fromisoformat(found[options["source"]])
        elif kind == "labels":
            labels |= {name: found[source or name] for name, source in options.items()}
        else:
            raise ValueError(f"this check does not know the stage {kind}")
    return labels


def main():
    (job,) = yaml.safe_load(SCRAPE.read_text())["scrape_configs"]
    lines = Path(sys.argv[1]).read_text().splitlines()
    values = {}
    for line in lines:
        try:
            for label, value in apply(job["pipeline_stages"], line).items():
                values.setdefault(label, set()).add(value)
        except (KeyError, TypeError, ValueError) as error:
            sys.exit(f"promtail could not read a line: {error}: {line[:200]}")
    for label, seen in values.items():
        if len(seen) > MOST_VALUES:
            sys.exit(f"the label {label} has {len(seen)} values: {sorted(seen)[:10]}")
    print(f"{len(lines)} lines read as promtail would, labels {({label: sorted(seen) for label, seen in values.items()})}")
    sys.exit(not lines or not values)


main()
