"""The children of the supervisor: workers, the zygote, and whatever these leave behind. All are reaped here.

A child keeps its number until it is reaped, so nothing else can be signalled by it meanwhile.
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
    """`exited`: done with the exit status, as `subprocess` gives it, once it is reaped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    def send(self, number: int) -> None:
        """Sends a signal. Nothing happens where it has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def gone(self, seconds: float) -> int:
        """Waits for its end, and kills it with its group after so many seconds. The exit status."""
        await asyncio.wait({self.exited}, timeout=seconds)
        return await self.kill()

    async def kill(self) -> int:
        """With its group. Returns the exit status."""
        if self.alive:
            kill_group(self.pid)
            self.send(signal.SIGKILL)  # one that has just been forked leads no group yet
            await asyncio.wait({self.exited})
        return self.exited.result()


def kill_group(pid: int) -> None:
    """Kills the group that this child of ours leads, where it leads one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class Children:
    """In one event loop, in the main thread of a process that has no other children."""

    def __init__(self) -> None:
        self._known: dict[int, Child] = {}
        self._adopting = 0
        self._ended: dict[int, int] = {}
        """Statuses of those that have ended while one of them might have been adopted."""

    def watch(self) -> None:
        """From now on. What a child of ours leaves becomes ours, also where this is not process 1."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def add(self, pid: int) -> Child:
        """A child that was just started."""
        self._known[pid] = Child(pid)
        return self._known[pid]

    @contextlib.contextmanager
    def adopting(self) -> Iterator[None]:
        """While it is open, a process that nobody knows may be about to be adopted."""
        self._adopting += 1
        try:
            yield
        finally:
            self._adopting -= 1
            if not self._adopting:
                self._ended.clear()

    def adopt(self, pid: int) -> Child:
        """A process that another one says it has left to us. Within `adopting`. ConnectionError: it is not ours, or
        known already."""
        status = self._ended.pop(pid, None)
        if pid in self._known or (status is None and kernel.parent(pid) != os.getpid()):
            raise ConnectionError("the zygote did not leave its worker to the supervisor")
        child = self.add(pid)
        if status is not None:
            del self._known[pid]
            child.exited.set_result(status)
        return child

    def end_orphans(self) -> None:
        """Kills what workers have started and left, also in sessions of their own: children that nobody knows."""
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
                self.end_orphans()
            elif self._adopting:
                self._ended[pid] = code


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            found.update(map(int, (task / "children").read_text(encoding="ascii").split()))
    return found
