"""What was measured, kept after every case, so that an interrupted run can go on."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import RESULTS


@dataclass(frozen=True)
class Row:
    """One server in one case at one load; medians over `repeats`."""

    case: str
    server: str
    title: str
    connections: int
    rps: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_us: float
    """User and system time of all of the server's processes, for one request."""
    pss_mb: float
    rss_mb: float
    spread: tuple[float, float]
    """Least and most requests a second of the repetitions."""
    repeats: int
    failed: int = 0
    turns: tuple[float, ...] = ()
    """Requests a second of each repetition, in their order: neighbours on the machine slow down all of one turn."""


@dataclass
class Results:
    machine: Mapping[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Case -> what it found, by name; for cases that are no table of servers."""
    not_run: dict[str, str] = field(default_factory=dict)
    """`case` or `case/server` -> why."""
    done: list[str] = field(default_factory=list)
    goals: list[dict[str, Any]] = field(default_factory=list)

    def row(self, case: str, server: str, connections: int = 8) -> Row | None:
        wanted = (case, server, connections)
        return next((row for row in self.rows if (row.case, row.server, row.connections) == wanted), None)

    def forget(self, case: str) -> None:
        """Before it is measured anew."""
        self.rows = [row for row in self.rows if row.case.partition("@")[0] != case]
        self.facts.pop(case, None)
        self.not_run = {key: why for key, why in self.not_run.items() if key.partition("/")[0] != case}
        self.done = [one for one in self.done if one != case]

    def save(self, path: Path = RESULTS) -> None:
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(asdict(self), indent=1) + "\n")
        beside.replace(path)


def load(path: Path = RESULTS) -> Results:
    """What is there; nothing where there is no file."""
    if not path.exists():
        return Results()
    found = json.loads(path.read_text())
    rows = [
        Row(**{**row, "spread": tuple(row["spread"]), "turns": tuple(row.get("turns", ()))})
        for row in found.pop("rows")
    ]
    return Results(rows=rows, **found)


@dataclass(frozen=True)
class Sample:
    """One measurement of `Row`."""

    rps: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_us: float
    failed: int


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """The medians of a Row, its spread and its turns."""
    names = ("rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us")
    found: dict[str, Any] = {name: round(statistics.median(getattr(s, name) for s in samples), 4) for name in names}
    rates = [round(sample.rps, 1) for sample in samples]
    failed = sum(sample.failed for sample in samples)
    spread = (min(rates), max(rates))
    return {**found, "spread": spread, "turns": tuple(rates), "repeats": len(samples), "failed": failed}


def ratio(ours: Row, theirs: Row) -> float:
    """Of the requests a second: the median over the turns, each against the other's in the same turn."""
    if not ours.turns or len(ours.turns) != len(theirs.turns):
        return ours.rps / theirs.rps
    return statistics.median(one / other for one, other in zip(ours.turns, theirs.turns, strict=True))


def machine() -> dict[str, Any]:
    """Where it ran."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": models[0] if models else platform.processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": round(os.getloadavg()[0], 2),
    }
