"""The table of docs/judge.md, made from results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from simulation.catalogue import KINDS
from simulation.goals import Result
from simulation.run import Found

ROWS: Mapping[str, str] = {
    "honest, independent requests: alerts of 0.01 to 30 %, day curves, half without an entity": (
        r"independent.*|alerts [\d.]+%|day curve|half without .*|errors only without .*|alerts 20 %, .*"
    ),
    "honest, warm-up of 30 and 90 seconds": r"warm-up .*",
    "honest, bursts of 3, 20 and 100": r"bursts of \d+",
    "honest, 2 to 500,000 entities, uniform and heavy-tailed": r"[\d,]+ entities, tail .*",
    "honest, one arm stalls for 0.5 to 5 s at 10 to 1,000/s": r".* stalls [\d.]+ s, [\d,]+/s",
    "honest, the canary stalls for 5.5 to 8 s": r".* canary stalls [\d.]+ s",
    "honest, each arm stalls for 1 s once a minute": r".* each arm stalls .*",
    "honest, counts of one arm 30 s late or in clumps, also while both fail": r".*'s counts .*",
    "honest, trouble of the champion or of both arms for 2 to 120 s": r"(champion|both arms) .*",
    "errors, fallbacks or missing answers at the budget": r"\w+ at the budget",
    "errors at 3 times the budget in bursts of 3 and 20": r"errors at 3 times the budget, bursts of (3|20)",
    "errors at 3 times the budget in bursts of 100": r"errors at 3 times the budget, bursts of 100",
    "errors of the canary alone at 3 times the budget in bursts of 3 and 20": r"errors of the canary at .*",
    "slow or alerts x 2 in bursts of 3, 20 and 100": r"(slow|alerts) x 2, bursts of \d+",
    "slow x 2 or alerts / 4 of 20, 200 and 2,000 entities": r"(slow x 2|alerts / 4), [\d,]+ entities, .*",
    "errors of few entities, uniform and heavy-tailed": r"errors of few entities, .*",
    "slow or alerts x 2 while the champion is in trouble for 2 to 120 s": r"(slow|alerts) x 2, champion .*",
    "silent where alerts are rare, or but for 20 s of many alerts": r"silent(,| but) .*",
    "harmful: 0.3 and 1 % errors, slow and alerts x 2 and x 3, alerts / 4, silent": (
        r"[\d.]+ % errors|(slow|alerts) x [23]|alerts / 4|silent"
    ),
    "everything fails": r"everything fails.*",
}
"""Which kinds a row has, as a pattern of their whole names."""

_HEAD = "| streams | number | aborted | passed | at most, of one kind |"
_LAST = "The table has "


def row_of(name: str) -> str:
    rows = [row for row, pattern in ROWS.items() if re.fullmatch(pattern, name)]
    if len(rows) != 1:
        raise ValueError(
            f"kind {name!r} must be in one row of the table, and is in {len(rows)}: see simulation/table.py"
        )
    return rows[0]


def table(found: Mapping[str, Found]) -> str:
    """In Markdown, with a sentence that says how many streams it has."""
    lines = [_HEAD, "|---|---|---|---|---|"]
    for row in ROWS:
        results = [Result(KINDS[name], one) for name, one in found.items() if row_of(name) == row]
        if results:
            lines.append(_line(row, results))
    numbers = [one.streams for one in found.values()]
    least, most = (f"{number:,}" for number in (min(numbers, default=0), max(numbers, default=0)))
    return "\n".join([*lines, "", f"{_LAST}{least if least == most else f'{least} to {most}'} streams of each kind."])


def _line(row: str, results: list[Result]) -> str:
    number, aborted, passed = (
        sum(getattr(one.found, name) for one in results) for name in ("streams", "aborted", "passed")
    )
    worst = max(results, key=lambda one: one.at_most)
    what = "aborted" if worst.kind.outcome in ("honest", "clean") else "passed"
    return f"| {row} | {number:,} | {aborted:,} | {passed:,} | {worst.at_most:.2%} {what} |"


def write(path: Path, found: Mapping[str, Found]) -> None:
    """Replaces the table in a page. Raises ValueError where it has none."""
    lines = path.read_text().splitlines()
    begin = next((place for place, line in enumerate(lines) if line == _HEAD), None)
    end = next((place for place, line in enumerate(lines) if line.startswith(_LAST)), None)
    if begin is None or end is None or end < begin:
        raise ValueError(f"{path} has no table that begins with {_HEAD!r} and ends with a line {_LAST!r}...")
    path.write_text("\n".join([*lines[:begin], table(found), *lines[end + 1 :]]) + "\n")
