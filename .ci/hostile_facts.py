"""Prints an export whose texts try to break a report: markup, control characters, very long lines, very many rows."""

import datetime
import itertools
import json

MONDAY = datetime.datetime(2026, 11, 9, 6, tzinfo=datetime.timezone.utc)
TEXTS = [
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "</style><style>*{display:none}</style>",
    "</svg></title></head></body></html><h1>",
    '"onmouseover="alert(3)" style="x',
    "| a | b |\n|---|---|\n# heading\n- [ ] @team https://evil.example ![x](http://evil.example/x.png)",
    "`` ``` ` ~~~ **bold** __under__ <!-- --> &lt;b&gt; &#60;",
    "\u202egnp.exe\u202c \u2066\u2069 \u200f \x00 \x1b[31m \u2028 \ufeff",
    "A" * 5_000_000,
    "W" * 400,
    "{{7*7}} ${7*7} <%= 7*7 %>",
]
PERSONAS, TOOLS, DAYS = 40, 600, 7


def line(kind, **fields):
    print(json.dumps({"kind": kind, **fields}))


def time(day, persona, seconds=0):
    return (MONDAY + datetime.timedelta(days=day, minutes=persona, seconds=seconds)).isoformat()


def tool(number):
    return f"{TEXTS[number % 7]}{number % 90}.{TEXTS[(number + 3) % 7]}{number}"


def main():
    line("meta", schema="facts/v1", tz="Europe/Berlin")
    line("catalog", id="c", tools=[{"name": tool(number), "hash": "h"} for number in range(TOOLS)], hidden=TEXTS[:7])
    for number, text in enumerate(TEXTS[:7]):
        line("deployment", id=f"D-{number}{text[:40]}", version=text, source=text[:9], at=time(number, 0))
    for number in range(PERSONAS):
        mix = {text[:60]: 0.3 for text in TEXTS[:7]}
        label = f"{TEXTS[number % len(TEXTS)][:3000]}{number}"
        line("persona", id=f"p{number}", label=label, archetype=TEXTS[0], cadence="daily", mix=mix)
    runs = list(itertools.product(range(DAYS), range(PERSONAS)))
    for day, persona in runs:
        line("run", id=f"r{day}-{persona}{TEXTS[persona % 7]}", persona=f"p{persona}", at=time(day, persona),
             deployment=f"D-{day}{TEXTS[day][:40]}", model=TEXTS[day], catalog="c", outcome="done", costUsd=1e300)
    for day, persona in runs:
        for number in range(1, 13):
            text = TEXTS[(number + persona) % len(TEXTS)]
            # A line of 5 MB is enough once.
            text = text if len(text) < 1_000_000 or (day, persona, number) == (0, 0, 7) else text[:1000]
            name = tool(number * 7 + day)
            failed = number % 3 > 0
            line("call", run=f"r{day}-{persona}{TEXTS[persona % 7]}", number=number, at=time(day, persona, number),
                 tool=name, module=name.rsplit(".", 1)[0], ok=not failed, latencyMs=9_000, chars=10**9, limitOffered=True,
                 **({"cause": "handler", "issue": f"F-{number}{text[:99]}", "template": text, "quote": text,
                     "next": "ended", "inputHash": text[:50]} if failed else {}))
    for day, persona in runs:
        for number in range(1, 13):
            name = tool(number * 7 + day).rsplit(".", 1)[0]
            line("module", run=f"r{day}-{persona}{TEXTS[persona % 7]}", module=name, rating=1 + number % 5, grounded=True,
                 notes=TEXTS[number % 7] + TEXTS[8], calls=[number], failed=1, deadEnd=True)


main()
