"""Linux processes, as the kernel reports them. A process id alone identifies no process, because it is used again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Seen:
    """A process."""

    pid: int
    session: int
    """The process id of the session's leader. It is not used again while the session has members."""
    ticks: int
    """The time at which the process started, in clock ticks since boot."""

    @property
    def identity(self) -> str:
        """An identity that no other process ever has: boot id and start time."""
        return f"{boot()}/{self.ticks}"


@cache
def boot() -> str:
    """Returns the boot id of the machine, which changes with every boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def look(pid: int) -> Seen | None:
    """Returns a process. None: it does not exist, or all its threads have ended.

    The kernel reports a process as ended when its first thread has ended. Until the others have, the process keeps its
    memory and its ports, and its exit status is unknown.
    """
    fields = _stat(pid)
    if fields is None or fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1):
        return None
    return Seen(pid, int(fields[3]), int(fields[19]))


def identity(pid: int) -> str | None:
    """Returns `Seen.identity` of a process. None: as for `look`."""
    seen = look(pid)
    return None if seen is None else seen.identity


def cpu_seconds(pid: int) -> float | None:
    """Returns the processor time of a process in user and system mode. None: there is no such process."""
    fields = _stat(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS


def parent(pid: int) -> int | None:
    """Returns the parent of a process, which may have ended and not been waited for. None: there is no such process."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _stat(pid: int) -> Sequence[str] | None:
    """Returns the fields of `/proc/<pid>/stat` from the state on.

    The state is field 3 of proc_pid_stat(5), the parent 4, the session 6, the processor time 14 and 15, the number of
    threads 20 and the start time 22. None: there is no such process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")  # The name may consist of any bytes.
    except OSError:
        return None
    # The name is in parentheses, and may contain blanks and parentheses.
    return stat.rpartition(")")[2].split()
