"""What a process has started, and what that has."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from waiting import wait_until

from serinus.lib import processes


def descendants(pid: int) -> Mapping[int, str]:
    """Pid -> identity, of those that run."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    if (identity := processes.identity(child)) is not None:
                        found[child] = identity
                    found.update(descendants(child))
    return found


def alive(seen: Mapping[int, str]) -> list[int]:
    """Those of them that still run."""
    return [pid for pid, identity in seen.items() if processes.identity(pid) == identity]


def started(pid: int, least: int) -> Mapping[int, str]:
    """What it has started, once that is so much."""
    return wait_until(lambda: found if len(found := descendants(pid)) >= least else {}, what=f"{least} processes")


def end(process: subprocess.Popen[Any]) -> None:
    """Kills it, and what it has started.

    All are stopped first, because one that runs may start another that nobody sees.
    """
    if process.poll() is not None:
        return
    stopped: dict[int, str] = {}
    running = {process.pid: str(processes.identity(process.pid))}
    while running:
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        wait_until(partial(_none_runs, running), what="their stop")
        stopped.update(running)
        running = {pid: one for pid, one in descendants(process.pid).items() if pid not in stopped}
    for pid in alive(stopped):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def _none_runs(pids: Iterable[int]) -> bool:
    return all(_state(pid) in "TtZX" for pid in pids)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has ended
        return "X"
