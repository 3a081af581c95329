"""The priority of a process that was just started.

Where the kernel groups processes by session (autogroup, see sched(7)), the niceness and policy of a process count only
within its group. The groups share the processors by a niceness of their own, which is 0 for every new session. A
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
"""The niceness with a twentieth of the weight of a group at 0. The group yields to all other processes, and still runs
within minutes on a fully loaded machine."""


def give_way(pid: int, nice: int) -> None:
    """Lowers the priority of a process by `nice` (0 to 19, see nice(2)).

    It counts from this process's own niceness, which children inherit and an ordinary user cannot reduce. Does nothing
    where the process has ended.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, min(_LEAST, os.getpriority(os.PRIO_PROCESS, 0) + nice))
    _set_group(pid, min(_LEAST, _own_group() + nice))


def put_last(pid: int) -> None:
    """Gives a process, and everything that it starts from then on, the lowest priority. No privilege is needed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _LEAST)
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    _set_group(pid, max(_LAST_GROUP, _own_group()))


def _own_group() -> int:
    """Returns the niceness of this process's group. 0: there are no groups."""
    try:
        return int(Path("/proc/self/autogroup").read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _set_group(pid: int, nice: int) -> None:
    """Sets the niceness of the group of a process that leads a session. Other processes share their group."""
    try:
        if os.getsid(pid) != pid:
            return
    except OSError:  # it has ended
        return
    deadline = time.monotonic() + _SECONDS
    while not _is_set(pid, nice) and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_set(pid: int, nice: int) -> bool:
    """Whether the niceness is set. Ordinary users may change it once in a tenth of a second only."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except BlockingIOError:
        return False
    except OSError:  # The process has ended, or there are no groups.
        return True
    return True
