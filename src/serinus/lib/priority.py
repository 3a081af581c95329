"""How much of the processors a process that was just started gets where others want them as well.

Where the kernel groups processes by session (autogroup, see sched(7)), a process's niceness and policy count within
its group only, and the groups share the processors by a niceness of their own, which is 0 for every new session. A
process that leads a session therefore gets both.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_LEAST = 19
_SECONDS = 1.0
_LAST_GROUP = 13
"""A twentieth of the weight of a group at 0: behind every other process, and yet a process that the kernel runs within
minutes where others take all they can get."""


def give_way(pid: int, nice: int) -> None:
    """Lets other processes have the processors first, the more the higher `nice` is (0 to 19; see nice(2)).

    Counted from this process's own values, which its children have otherwise, and below which an ordinary user cannot
    go. Nothing happens where the process has ended.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, min(_LEAST, os.getpriority(os.PRIO_PROCESS, 0) + nice))
    _set_group(pid, min(_LEAST, _own_group() + nice))


def put_last(pid: int) -> None:
    """Puts it behind every other process, with all that it starts from now on. It needs no right."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _LEAST)
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    _set_group(pid, max(_LAST_GROUP, _own_group()))


def _own_group() -> int:
    """The niceness of this process's own group; 0 where there are no groups."""
    try:
        return int(Path("/proc/self/autogroup").read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _set_group(pid: int, nice: int) -> None:
    """Of a process that leads a session; any other is in a group with somebody else."""
    try:
        if os.getsid(pid) != pid:
            return
    except OSError:  # it has ended
        return
    deadline = time.monotonic() + _SECONDS
    while not _is_set(pid, nice) and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_set(pid: int, nice: int) -> bool:
    """False: not yet, as the kernel lets ordinary users change one group in a tenth of a second."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except BlockingIOError:
        return False
    except OSError:  # it has ended; or there are no groups
        return True
    return True
