"""The memory use of a process, in bytes. See proc_pid_smaps(5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """`share` is the proportional set size, in which shared pages are divided among processes. It is shown to people.
    `own` is the memory that no other process shares, and that is free after the process has ended."""

    share: int
    own: int


class Known(NamedTuple):
    """The memory of a process at one time, and its resident size then. Later growth counts as its own memory."""

    memory: Memory
    resident: int

    def at(self, resident: int) -> Memory:
        """Returns an estimate by the present resident size."""
        more = resident - self.resident
        return Memory(max(0, self.memory.share + more), max(0, self.memory.own + more))


def known(pid: int) -> Known | None:
    """Returns the memory of a process. The kernel walks all of its pages, which takes tens of milliseconds.

    None: there is no such process, or it is confined, which hides it from others of its user.
    """
    now = resident(pid)
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return None
    kilobytes = {words[0]: int(words[1]) for line in lines[1:] if len(words := line.split()) == 3}
    own = kilobytes.get("Private_Clean:", 0) + kilobytes.get("Private_Dirty:", 0)
    if now is None or not kilobytes:  # A zombie has none.
        return None
    return Known(Memory(kilobytes["Pss:"] * 1024, own * 1024), now)


def resident(pid: int) -> int | None:
    """Returns the resident size, which is at least the proportional set size and much cheaper to read. None: there is
    no such process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return None
