"""Other processes, as the kernel shows them in /proc/<pid>/stat (proc_pid_stat(5)), whoever they belong to."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def parent(pid: int) -> int | None:
    """The pid of its parent. None: no such process."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def cpu_seconds(pid: int) -> float | None:
    """Processor time that it has used, in itself and in the system. None: no such process."""
    fields = _stat(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS


def _stat(pid: int) -> list[str] | None:
    """From the state on, which is field 3."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()  # the name stands in parentheses, and may hold blanks and parentheses
