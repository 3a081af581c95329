"""Starts one worker of the pod, reads its reports, and asks the kernel about it."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field

from serinus_runtime.isolation import observed
from serinus_runtime.pod.children import Child
from serinus_runtime.pod.launch import Launcher
from serinus_runtime.pod.looks import at_work
from serinus_runtime.pod.output import Printed
from serinus_runtime.pod.slots import Slot
from serinus_runtime.pod.zygotes import Zygotes
from serinus_runtime.process import kernel
from serinus_runtime.process.in_memory import in_memory
from serinus_runtime.process.last_words import why_ended
from serinus_runtime.process.load_report import Load
from serinus_runtime.process.process_memory import Known, Memory, resident
from serinus_runtime.process.reports import LAST_WORDS, Report, Reports
from serinus_runtime.process.wire import pair

_TIME_TO_EXIT = 1.0
"""Seconds that a worker has to end after it has reported a failure."""
_LONGEST_REASON = 2000
"""The number of characters of a reason, because a model may put anything into an exception."""


_NONE_YET = Load()


def words(text: str) -> str:
    """Returns a foreign text as one line of printable ASCII, which cannot control a terminal."""
    line = " ".join(text.split())[:_LONGEST_REASON]
    return "".join(one if " " <= one <= "~" else one.encode("unicode_escape", "replace").decode() for one in line)


@dataclass(eq=False)
class Worker:
    child: Child
    reports: Reports = field(repr=False)
    printed: Printed = field(repr=False)
    wire: socket.socket = field(repr=False)
    """The supervisor's end of the socket to the worker."""
    slot: Slot = field(repr=False)
    """The slot in which it serves."""
    generation: int
    """The generation of the zygote that it was forked from, or 0 if it is an interpreter of its own."""
    report: Report | None = field(default=None, repr=False)
    """The report that it is ready."""
    ready_since: float = 0.0
    load: Load = _NONE_YET
    """The load that it reported last."""
    active_at: float = 0.0
    """The time at which it was last at work."""
    cpu_seconds: float = 0.0
    """The processor time in seconds that it had used at the last look."""
    busy: float = 0.0
    """The share of a processor that it used between the last two looks."""
    known: Known | None = None
    memory: Memory | None = None
    why_stopped: str = ""
    """The reason why the supervisor ended it, or an empty string."""

    @property
    def pid(self) -> int:
        return self.child.pid

    def became_ready(self, report: Report, now: float) -> None:
        """Notes the memory that the worker reports. Nobody else can ask the kernel for it later."""
        self.report, self.ready_since, self.active_at = report, now, now
        self.memory = report.memory
        self.cpu_seconds = kernel.cpu_seconds(self.pid) or 0.0
        there = resident(self.pid)
        if report.memory is not None and there is not None:
            self.known = Known(report.memory, there)

    def look(self, now: float, elapsed: float) -> None:
        """Reads its reports, and its processor time and memory from the kernel. `elapsed` is the time in seconds since
        the last look."""
        used = kernel.cpu_seconds(self.pid)
        if used is not None:
            self.busy = min(1.0, max(0.0, used - self.cpu_seconds) / max(elapsed, 1e-3))
            self.cpu_seconds = used
        load = self.reports.stats()
        self.load = self.load if load is None else load
        if at_work(load is not None, self.busy):
            self.active_at = now
        there = resident(self.pid)
        if there is not None:
            self.memory = self.known.at(there) if self.known else Memory(there, there)

    async def why_not_ready(self, seconds: float) -> str:
        """Waits until the worker is ready and returns an empty string. Otherwise the worker is ended, and the reason is
        returned."""
        report = await self.reports.outcome(self.child.exited, seconds)
        if report is None and self.child.alive:
            await self.child.kill()
            return self.why_stopped or f"it was not ready within {seconds:g} s and was killed"
        if report is None:
            return self.why_stopped or words(why_ended(self.child.exited.result(), self.printed.last_words()))
        if report.state == "failed":
            return why_ended(await self.child.gone(_TIME_TO_EXIT), report.reason)
        if not (report.confined and observed.holds(self.pid)):
            await self.child.kill()
            return "it was killed because it did not confine itself (Landlock, system calls)"
        self.became_ready(report, asyncio.get_running_loop().time())
        return ""


class _Ends:
    """The ends of the wire to a worker and of the pipe for what it prints. As a context it closes those of the worker,
    and the others as well unless a worker has got them.

    Each try to start a worker has its own: one that was forked and not adopted may have reported before it was killed,
    and its report must not be taken for that of the next one.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._ours, self.theirs = pair()
        self._reports = Reports(os.dup(self._ours.fileno()), words)
        self.printed = Printed(launcher.output)
        self._handed_over = False

    def __enter__(self) -> _Ends:
        return self

    def __exit__(self, *_: object) -> None:
        self.theirs.close()
        os.close(self.printed.end)
        if not self._handed_over:
            self._close()

    def worker(self, child: Child, slot: Slot, generation: int) -> Worker:
        """Returns the worker that this child is. The ends are closed a while after its end."""
        loop = asyncio.get_running_loop()
        child.exited.add_done_callback(lambda _: loop.call_later(LAST_WORDS, self._close))
        self._handed_over = True
        return Worker(child, self._reports, self.printed, self._ours, slot, generation)

    def _close(self) -> None:
        for one in (self._reports, self.printed, self._ours):
            one.close()


async def start(launcher: Launcher, zygotes: Zygotes, slot: Slot, proven: str) -> Worker:
    """Forks a worker for `slot`, or starts an interpreter of its own for it. `proven` is what an earlier worker has
    reported. Raises OSError."""
    with _Ends(launcher) as ends:
        descriptors = slot.socket.fileno(), ends.theirs.fileno()
        told = in_memory(launcher.worker_config(forked=True, proven=proven, descriptors=descriptors))
        try:
            forked = await zygotes.fork((*descriptors, told, ends.printed.end))
        finally:
            os.close(told)
        if forked is not None:
            return ends.worker(forked, slot, zygotes.generation)
    with _Ends(launcher) as ends:
        descriptors = slot.socket.fileno(), ends.theirs.fileno()
        config = launcher.worker_config(forked=False, proven=proven, descriptors=descriptors)
        return ends.worker(launcher.start("process.worker", config, ends.printed, descriptors), slot, 0)
