"""`run/<name>.json`: what is known of each process. Written whole, by rename.

A record is what people and the next supervisor read; whether its process runs is asked of the kernel. Where a record
could not be written (a full disk, a `kill -9` at the wrong moment) the process is found by its mark.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from serinus.core.home import Home
from serinus.lib import files
from serinus.lib.processes import Seen, look
from serinus.targets.local.supervisor import kernel

SUPERVISOR = "supervisor"
BEFORE = "-before"
"""Behind the name of a process, in the name of the record of the one whose place it has taken."""

RUNNING = "running"
BACKING_OFF = "backing-off"
"""Died, and is started again in a moment."""
REPLACING = "replacing"
"""The supervisor, while it replaces what another version has started."""
STOPPING = "stopping"
STOPPED = "stopped"
GONE = "gone"
"""Should run, and does not, and nobody starts it again: the supervisor is gone as well."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """With how it is to be stopped, so that `down` needs nothing but the records."""

    name: str
    state: str
    pid: int = 0
    identity: str = ""
    """Boot and start time: together with the pid it names one process for ever."""
    since: float = 0.0
    """Unix seconds."""
    restarts: int = 0
    reason: str = ""
    """Of the last end, in words."""
    order: int = 0
    """Of starting; stopping goes the other way round."""
    stop_seconds: float = 15.0
    pre_stop: Sequence[str] = ()
    version: str = ""
    """Of the installation that has started it; empty: it was one that did not say so."""


def alive(record: ProcessRecord | None) -> bool:
    if record is None or record.pid <= 0:
        return False
    seen = look(record.pid)
    return seen is not None and seen.identity == record.identity


def read(home: Home, name: str) -> ProcessRecord | None:
    """None: there is none, or none that this version can read."""
    try:
        found = json.loads(_path(home, name).read_text())
        known = {field.name for field in fields(ProcessRecord)}  # a newer version may say more
        return ProcessRecord(**{key: value for key, value in found.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write(home: Home, record: ProcessRecord) -> None:
    """Raises OSError, and then the record before is still there."""
    # It need not outlast the machine, as the process does not: so nothing waits for the disk.
    files.write(_path(home, record.name), json.dumps(asdict(record)), durable=False)


def forget(home: Home, name: str) -> None:
    """The record of a process that has ended for good. Raises OSError."""
    _path(home, name).unlink(missing_ok=True)


def find(home: Home, name: str) -> ProcessRecord | None:
    """Of a process that runs, by its record or else by its mark; None: it does not run."""
    record = read(home, name)
    if alive(record):
        return record
    seen = kernel.leaders(home.path).get(name)
    return None if seen is None else adopted(record or ProcessRecord(name, RUNNING), seen)


def adopted(record: ProcessRecord, seen: Seen) -> ProcessRecord:
    return replace(record, state=RUNNING, pid=seen.pid, identity=seen.identity, since=time.time())


def running(home: Home) -> Sequence[ProcessRecord]:
    """Of every process that runs, but for the supervisor, in the order of starting."""
    marked = kernel.leaders(home.path)
    names = {path.stem for path in home.run.glob("*.json")} | marked.keys()
    found = []
    for name in names - {SUPERVISOR}:
        record = read(home, name)
        if record is not None and alive(record):
            found.append(record)
        elif name in marked:
            found.append(adopted(record or ProcessRecord(name, RUNNING), marked[name]))
    return sorted(found, key=lambda record: record.order)


def processes(home: Home) -> Sequence[Mapping[str, Any]]:
    """Every process that this home has or had: name, state (as it is now), pid, since, restarts, reason. Without those
    that finish what is under way while another version's have taken their place: nobody misses them."""
    names = (path.stem for path in home.run.glob("*.json") if not path.stem.endswith(BEFORE))
    records = [record for name in names if (record := read(home, name)) is not None]
    return [
        {
            "name": record.name,
            "state": _state_now(record),
            "pid": record.pid,
            "since": record.since,
            "restarts": record.restarts,
            "reason": record.reason,
        }
        for record in sorted(records, key=lambda record: (record.order, record.name))
    ]


def _state_now(record: ProcessRecord) -> str:
    return GONE if record.state in (RUNNING, REPLACING, STOPPING) and not alive(record) else record.state


def _path(home: Home, name: str) -> Path:
    return home.run / f"{name}.json"
