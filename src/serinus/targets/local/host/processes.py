"""Processes that this one waits for, or ends: its children, those that it adopts, and orphans among its descendants."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from serinus.lib.processes import identity, parent

_PR_SET_CHILD_SUBREAPER = 36
_LARGEST_PID = 2**31 - 1


def descriptor_of(pid: object) -> int:
    """A descriptor of the process that somebody names, of whatever type that is. OSError: there is none."""
    if type(pid) is not int or not 0 < pid <= _LARGEST_PID:
        raise ProcessLookupError("no process has that number")
    return os.pidfd_open(pid)


_subreaper = False


def become_subreaper() -> None:
    """Orphans among our descendants become our children: workers that a zygote has forked, to be waited for as such,
    and what a model has started and left, which `end_orphans` ends."""
    global _subreaper
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    _subreaper = True


_known: set[int] = set()
"""Pids of our children that a `Process` waits for, and of those that are about to become our children."""


def end_orphans() -> int:
    """Ends what models have started and left, also in sessions of their own: children of ours, the subreaper, that no
    `Process` waits for. How many there still are. For a process whose every child is a `Process`, and from its event
    loop alone: between the start of a child and its `Process` it must not be called."""
    if not _subreaper:
        return 0
    left = 0
    for pid in _children() - _known:
        # Nobody else waits for it, so the number is its own until it is reaped here.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            left += os.waitpid(pid, os.WNOHANG)[0] == 0
    return left


async def no_orphans(seconds: float) -> None:
    """Returns when there are none any more; what an orphan has started is one when the orphan has ended."""
    end = asyncio.get_running_loop().time() + seconds
    while (end_orphans() or _children() - _known) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.01)


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


class Process:
    """A process to wait for and to signal, our child or not. Needs a running event loop."""

    def __init__(self, pid: int, pidfd: int, reap: Callable[[], int] | None = None) -> None:
        """`reap`: waits for our dead child, and gives its exit status as `subprocess` does."""
        self.pid = pid
        self._pidfd = pidfd
        self._reap = reap
        if reap is not None:
            _known.add(pid)
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int | None] = loop.create_future()
        loop.add_reader(pidfd, self._on_exit)

    @classmethod
    def of(cls, child: subprocess.Popen[bytes]) -> Process:
        """Of our child, which leads a session of its own."""
        return cls(child.pid, os.pidfd_open(child.pid), child.wait)

    @classmethod
    def reparented(cls, pid: int, pidfd: int) -> Process:
        """Of one that becomes our child when its parent ends: by the descriptor that it was looked at by."""
        return cls(pid, pidfd, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    @classmethod
    def adopt(cls, pid: int, expected: str) -> Process | None:
        """A process that another one started; None where it is gone, whoever has its pid now."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        # Asked after the descriptor is held: from here on the pid cannot become another's unseen.
        if identity(pid) != expected:
            os.close(pidfd)
            return None
        return cls(pid, pidfd)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = None
        if self._reap is not None:
            # Not yet reaped, so the group is still its own: what the model has started ends with it.
            self._kill_group()
            with contextlib.suppress(ChildProcessError):  # it never became our child
                code = self._reap()
            _known.discard(self.pid)
            end_orphans()
        self.exited.set_result(code)

    def _kill_group(self) -> None:
        """By number, which is its own while it is our child, or lives."""
        if self._reap is not None and parent(self.pid) != os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Nothing happens where it is gone."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def stop(self, grace: float) -> None:
        """Asks it to go (SIGTERM); returns when it is gone."""
        self.send(signal.SIGTERM)
        await self.gone(grace)

    async def gone(self, grace: float) -> int | None:
        """Waits for its end and kills it, with its whole group, after `grace` seconds. Its exit status if known."""
        await asyncio.wait({self.exited}, timeout=grace)
        return await self.kill()

    async def kill(self) -> int | None:
        if not self.exited.done():
            self._kill_group()
            self.send(signal.SIGKILL)  # one that has just been forked leads no group yet
            await asyncio.wait({self.exited})
        return self.exited.result()
