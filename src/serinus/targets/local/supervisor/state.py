"""`run/<name>.json` holds what is known of each process. It is replaced as a whole.

People and the next supervisor read the records. Whether a process runs is asked of the kernel. Where a record could not
be written (because of a full disk, or a `kill -9` at the wrong moment), the process is found by its mark.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from serinus.core.home import Home
from serinus.lib import files
from serinus.lib.processes import Seen, look
from serinus.targets.local.supervisor import kernel

SUPERVISOR = "supervisor"
BEFORE = "-before"
"""Added to the name of a process in the name of the record of the process that it has replaced."""

RUNNING = "running"
BACKING_OFF = "backing-off"
"""The process has died and is started again soon."""
REPLACING = "replacing"
"""The supervisor replaces what another version has started."""
STOPPING = "stopping"
STOPPED = "stopped"
GONE = "gone"
"""The process should run but does not, and nobody starts it again, since the supervisor does not run either."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """Also says how the process is to be stopped, so that `down` needs only the records."""

    name: str
    state: str
    pid: int = 0
    identity: str = ""
    """The boot and the start time. Together with the pid it identifies one process for ever."""
    since: float = 0.0
    """In unix seconds."""
    restarts: int = 0
    reason: str = ""
    """Why it ended the last time, in words."""
    order: int = 0
    """The position in the order of starting. Processes are stopped in the reverse order."""
    stop_seconds: float = 15.0
    pre_stop: Sequence[str] = ()
    version: str = ""
    """The version of the installation that started it, or empty if that version did not record it."""


def alive(record: ProcessRecord | None) -> bool:
    """Whether the process of the record runs."""
    if record is None or record.pid <= 0:
        return False
    seen = look(record.pid)
    return seen is not None and seen.identity == record.identity


def read(home: Home, name: str) -> ProcessRecord | None:
    """None if there is no record, or none that this version can read."""
    try:
        found = json.loads(_path(home, name).read_text())
        known = {field.name for field in fields(ProcessRecord)}  # A newer version may write more fields.
        return ProcessRecord(**{key: value for key, value in found.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write(home: Home, record: ProcessRecord) -> None:
    """Raises OSError, and leaves the former record in place then."""
    # It need not outlast the machine, since the process does not, so nothing waits for the disk.
    files.write(_path(home, record.name), json.dumps(asdict(record)), durable=False)


def forget(home: Home, name: str) -> None:
    """Removes the record of a process that has ended for good. Raises OSError."""
    _path(home, name).unlink(missing_ok=True)


def forget_others(home: Home, names: Collection[str]) -> None:
    """Removes the records of processes that have ended and are none of `names`: the settings had them before. Raises
    OSError."""
    for path in home.run.glob("*.json"):
        if path.stem.removesuffix(BEFORE) not in names and not alive(read(home, path.stem)):
            path.unlink(missing_ok=True)


def find(home: Home, name: str) -> ProcessRecord | None:
    """The record of a running process, found by its record or by its mark. None if it does not run."""
    record = read(home, name)
    if alive(record):
        return record
    seen = kernel.leaders(home.path).get(name)
    return None if seen is None else adopted(record or ProcessRecord(name, RUNNING), seen)


def adopted(record: ProcessRecord, seen: Seen) -> ProcessRecord:
    """Returns the record of a process that was found running."""
    return replace(record, state=RUNNING, pid=seen.pid, identity=seen.identity, since=time.time())


def running(home: Home) -> Sequence[ProcessRecord]:
    """The records of all running processes except the supervisor, in the order of starting."""
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
    """All processes that this home has or had: name, present state, pid, since, restarts, reason. Processes that finish
    their work after those of another version have replaced them are left out, since nobody needs them."""
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
