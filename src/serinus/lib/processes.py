"""Linux processes as the kernel knows them. A pid alone names nobody: it is used again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Seen:
    pid: int
    session: int
    """Pid of the session's leader. It is not given to another process while the session has members."""
    ticks: int
    """When it began, in clock ticks since the machine did."""

    @property
    def identity(self) -> str:
        """What no other process has had or will have: boot and start time."""
        return f"{boot()}/{self.ticks}"


@cache
def boot() -> str:
    """The boot id of the machine, which changes at every start."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def look(pid: int) -> Seen | None:
    """What the kernel says of a process; None where it does not exist, or has ended with all of its threads.

    The kernel shows a process with threads as ended when its first thread has; until the others have, it holds its
    memory and its ports, and how it ended is not known.
    """
    fields = _stat(pid)
    if fields is None or fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1):
        return None
    return Seen(pid, int(fields[3]), int(fields[19]))


def identity(pid: int) -> str | None:
    """As `Seen.identity`. None: as `look`."""
    seen = look(pid)
    return None if seen is None else seen.identity


def cpu_seconds(pid: int) -> float | None:
    """Processor time that it has used, in itself and in the system. None: no such process."""
    fields = _stat(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS


def parent(pid: int) -> int | None:
    """Of a process, dead or alive, that somebody still has to wait for. None: no such process."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _stat(pid: int) -> Sequence[str] | None:
    """The fields of `/proc/<pid>/stat` from the state on, which is field 3 of proc_pid_stat(5): parent 4, session 6,
    processor time 14 and 15, number of threads 20, start time 22. None: no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")  # its name may be any bytes
    except OSError:
        return None
    # The name stands in parentheses and may hold blanks and parentheses itself.
    return stat.rpartition(")")[2].split()
