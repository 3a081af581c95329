"""Reaps the children of the supervisor: the workers, the zygote, and the processes that these leave behind.

The pid of a child is not used again before the child is reaped. So a signal to a child cannot reach another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import Iterator

from serinus_runtime.process import kernel

_PR_SET_CHILD_SUBREAPER = 36


class Child:
    """One child. The result of `exited` is its exit status, as `subprocess` gives it, once it is reaped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    def send(self, number: int) -> None:
        """Sends a signal, unless the child has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def gone(self, seconds: float) -> int:
        """Waits for the child to end and kills it, with its process group, after `seconds`. Returns the exit status."""
        await asyncio.wait({self.exited}, timeout=seconds)
        return await self.kill()

    async def kill(self) -> int:
        """Kills the child with its process group, and returns the exit status."""
        if self.alive:
            kill_group(self.pid)
            self.send(signal.SIGKILL)  # one that has just been forked leads no group yet
            await asyncio.wait({self.exited})
        return self.exited.result()


def kill_group(pid: int) -> None:
    """Kills the process group that the child `pid` leads, if it leads one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class Children:
    """All children of this process. To be used in one event loop, in the main thread."""

    def __init__(self) -> None:
        self._known: dict[int, Child] = {}
        self._adopting = 0
        self._ended: dict[int, int] = {}
        """The exit statuses of unknown children that ended while a process was about to be adopted."""

    def watch(self) -> None:
        """Starts to reap. Orphaned descendants become children of this process, even if it is not process 1."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def add(self, pid: int) -> Child:
        """Registers a child that was just started."""
        self._known[pid] = Child(pid)
        return self._known[pid]

    @contextlib.contextmanager
    def adopting(self) -> Iterator[None]:
        """Inside this context, an unknown child may be about to be adopted, and is not killed as an orphan."""
        self._adopting += 1
        try:
            yield
        finally:
            self._adopting -= 1
            if not self._adopting:
                self._ended.clear()

    def adopt(self, pid: int) -> Child:
        """Registers a process that the zygote says it has left to this one. To be called inside `adopting`. Raises
        ConnectionError if it is not a child of this process, or is known already."""
        status = self._ended.pop(pid, None)
        if pid in self._known or (status is None and kernel.parent(pid) != os.getpid()):
            raise ConnectionError("the zygote did not leave its worker to the supervisor")
        child = self.add(pid)
        if status is not None:
            del self._known[pid]
            child.exited.set_result(status)
        return child

    def end_orphans(self) -> None:
        """Kills the processes that workers have started and left, also those in sessions of their own."""
        if self._adopting:
            return
        for pid in _children() - self._known.keys():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            child = self._known.pop(pid, None)
            if child is not None:
                kill_group(pid)  # not reaped yet, so the group is still its own
            _, status = os.waitpid(pid, 0)
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            if child is not None:
                child.exited.set_result(code)
            elif self._adopting:
                self._ended[pid] = code
            self.end_orphans()  # what it has started is this process's now


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            found.update(map(int, (task / "children").read_text(encoding="ascii").split()))
    return found
