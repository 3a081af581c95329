"""What a process uses of the machine's memory, all in bytes. See proc_pid_smaps(5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """`share`: its proportional set size, in which pages that several have are divided among them: what is told to
    people. `own`: what nobody else has, and what is free again when it ends."""

    share: int
    own: int


class Told(NamedTuple):
    """What a process has said of itself, and how much of it was resident then."""

    memory: Memory
    resident: int


def measured(pid: int, told: Told | None = None) -> Memory | None:
    """None: no such process. A confined one does not let others of its user ask; then it is what it `told`, and what
    has come since; without that, all that is resident."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return _since(told, resident(pid))
    except (FileNotFoundError, ProcessLookupError):
        return None
    kilobytes = {words[0]: int(words[1]) for line in lines[1:] if len(words := line.split()) == 3}
    own = kilobytes.get("Private_Clean:", 0) + kilobytes.get("Private_Dirty:", 0)
    return Memory(kilobytes["Pss:"] * 1024, own * 1024) if kilobytes else None  # a zombie has none


def _since(told: Told | None, now: int | None) -> Memory | None:
    if told is None or now is None:
        return None if now is None else Memory(now, now)
    more = now - told.resident
    return Memory(max(0, told.memory.share + more), max(0, told.memory.own + more))


def resident(pid: int) -> int | None:
    """At least the proportional set size, and much cheaper to ask for. None: no such process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return None
