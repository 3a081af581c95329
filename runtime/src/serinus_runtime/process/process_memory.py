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


class Known(NamedTuple):
    """Of a process at one time, and how much of it was resident then: what has come since is its own."""

    memory: Memory
    resident: int

    def at(self, resident: int) -> Memory:
        more = resident - self.resident
        return Memory(max(0, self.memory.share + more), max(0, self.memory.own + more))


def known(pid: int) -> Known | None:
    """The kernel walks all of its pages for it, which takes tens of milliseconds. None: no such process, or one that is
    confined, which does not let others of its user ask."""
    now = resident(pid)
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return None
    kilobytes = {words[0]: int(words[1]) for line in lines[1:] if len(words := line.split()) == 3}
    own = kilobytes.get("Private_Clean:", 0) + kilobytes.get("Private_Dirty:", 0)
    if now is None or not kilobytes:  # a zombie has none
        return None
    return Known(Memory(kilobytes["Pss:"] * 1024, own * 1024), now)


def resident(pid: int) -> int | None:
    """At least the proportional set size, and much cheaper to ask for. None: no such process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return None
