"""`run/<name>.json`: what is known of each process. Written whole, by rename."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serinus.core.home import Home


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    name: str
    state: str
    """`running`, `backing-off` or `stopped`."""
    pid: int
    started: int
    """Start time in clock ticks since boot: together with the pid it names one process for ever."""
    since: float
    """Unix seconds."""
    restarts: int = 0
    reason: str = ""
    """Of the last end, in words."""


def start_ticks(pid: int) -> int | None:
    """When the process began, field 22 of /proc/<pid>/stat; None: it is not there or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold anything, also spaces and parentheses
    return None if fields[0] == "Z" else int(fields[19])


def alive(record: ProcessRecord | None) -> bool:
    return record is not None and record.pid > 0 and start_ticks(record.pid) == record.started


def read(home: Home, name: str) -> ProcessRecord | None:
    try:
        return ProcessRecord(**json.loads((home.run / f"{name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(home: Home, record: ProcessRecord) -> None:
    path = home.run / f"{record.name}.json"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(asdict(record)))
    temporary.replace(path)


def processes(home: Home) -> Sequence[Mapping[str, Any]]:
    """Every process that this home has or had: name, state (as it is now), pid, restarts, since, reason."""
    found = []
    for path in sorted(home.run.glob("*.json")):
        record = read(home, path.stem)
        if record is None:
            continue
        state = record.state if alive(record) or record.state != "running" else "gone"
        found.append({**asdict(record), "state": state})
    return found
