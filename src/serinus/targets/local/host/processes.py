"""Processes that this one waits for or ends: its children, adopted processes, and orphans among its descendants."""

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
    """Returns a descriptor of the process with this id, of any type. Raises OSError where there is none."""
    if type(pid) is not int or not 0 < pid <= _LARGEST_PID:
        raise ProcessLookupError("no process has that number")
    return os.pidfd_open(pid)


_subreaper = False


def become_subreaper() -> None:
    """Makes orphans among the descendants children of this process: workers that a zygote has forked, and processes
    that a model has left behind, which `end_orphans` ends."""
    global _subreaper
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    _subreaper = True


_known: set[int] = set()
"""The ids of children that a `Process` waits for, and of those that are about to become children."""


def end_orphans() -> int:
    """Ends processes that models have left behind, including those in sessions of their own. Returns how many remain.

    They are children of this process, the subreaper, for which no `Process` waits. All other children must have a
    `Process`. It must be called from the event loop only, and not between the start of a child and its `Process`.
    """
    if not _subreaper:
        return 0
    left = 0
    for pid in _children() - _known:
        # Nobody else waits for it, so its id is not used again until it is reaped here.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            left += os.waitpid(pid, os.WNOHANG)[0] == 0
    return left


async def no_orphans(seconds: float) -> None:
    """Waits until there are no orphans any more. Children of an orphan become orphans when it has ended."""
    end = asyncio.get_running_loop().time() + seconds
    while (end_orphans() or _children() - _known) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.01)


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # The thread has ended.
            found.update(map(int, (task / "children").read_text().split()))
    return found


class Process:
    """A process to wait for and to signal, whether it is a child or not. Needs a running event loop."""

    def __init__(self, pid: int, pidfd: int, reap: Callable[[], int] | None = None) -> None:
        """`reap` waits for a dead child, and returns its exit status like `subprocess`."""
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
        """Returns a child, which leads a session of its own."""
        return cls(child.pid, os.pidfd_open(child.pid), child.wait)

    @classmethod
    def reparented(cls, pid: int, pidfd: int) -> Process:
        """Returns a process that becomes a child when its parent ends, by the descriptor with which it was checked."""
        return cls(pid, pidfd, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    @classmethod
    def adopt(cls, pid: int, expected: str) -> Process | None:
        """Returns a process that another one has started. None: it has ended, even if its id is in use again."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        # This is read after the descriptor was opened, so that the id cannot be used again unnoticed.
        if identity(pid) != expected:
            os.close(pidfd)
            return None
        return cls(pid, pidfd)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = None
        if self._reap is not None:
            # It is not reaped yet, so the group is still its own. Processes that the model has started end with it.
            self._kill_group()
            with contextlib.suppress(ChildProcessError):  # It never became a child of this process.
                code = self._reap()
            _known.discard(self.pid)
            end_orphans()
        self.exited.set_result(code)

    def _kill_group(self) -> None:
        """Kills the group by its number, which is not used again while the process is a child or lives."""
        if self._reap is not None and parent(self.pid) != os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal. Does nothing where the process has ended."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def stop(self, grace: float) -> None:
        """Sends SIGTERM, and waits for the end."""
        self.send(signal.SIGTERM)
        await self.gone(grace)

    async def gone(self, grace: float) -> int | None:
        """Waits for the end, and kills the process with its group after `grace` seconds. Returns the exit status if it
        is known."""
        await asyncio.wait({self.exited}, timeout=grace)
        return await self.kill()

    async def kill(self) -> int | None:
        """Kills the process, and returns the exit status if it is known."""
        if not self.exited.done():
            self._kill_group()
            self.send(signal.SIGKILL)  # A process that was just forked does not lead a group yet.
            await asyncio.wait({self.exited})
        return self.exited.result()
