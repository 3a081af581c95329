"""One worker of the pod: started on the listening socket, listened to, and looked at."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field
from typing import Sequence

from serinus_runtime.isolation import observed
from serinus_runtime.pod.children import Child
from serinus_runtime.pod.launch import Launcher
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
"""Seconds that a worker has after it has reported a failure."""
_LONGEST_REASON = 2000
"""Characters: a model may put anything into an exception."""


_NONE_YET = Load()


def words(text: str) -> str:
    """`text` of somebody else as one line of ASCII, which nothing that shows it obeys."""
    line = " ".join(text.split())[:_LONGEST_REASON]
    return "".join(one if " " <= one <= "~" else one.encode("unicode_escape", "replace").decode() for one in line)


@dataclass(eq=False)
class Worker:
    child: Child
    reports: Reports = field(repr=False)
    printed: Printed = field(repr=False)
    wire: socket.socket = field(repr=False)
    """The supervisor's end of its wire, closed soon after its end."""
    slot: Slot = field(repr=False)
    """In which it serves."""
    generation: int
    """Of the zygote that it was forked from; 0: it is an interpreter of its own."""
    report: Report | None = field(default=None, repr=False)
    """That it is ready."""
    ready_since: float = 0.0
    load: Load = _NONE_YET
    """As last reported."""
    heard_at: float = 0.0
    cpu_then: float = 0.0
    """Processor seconds that it had used when it was last heard."""
    cpu_seconds: float = 0.0
    """As last measured."""
    busy: float = 0.0
    """Share of a processor that it used between the last two looks."""
    known: Known | None = None
    memory: Memory | None = None
    why_stopped: str = ""
    """Where it was ended for what it has done."""
    leaving: bool = False
    """It drains: its end is no death."""

    @property
    def pid(self) -> int:
        return self.child.pid

    def became_ready(self, report: Report, now: float) -> None:
        """Takes note of its own word on its size, which nobody else can ask for later."""
        self.report, self.ready_since, self.heard_at = report, now, now
        self.memory = report.memory
        self.cpu_then = self.cpu_seconds = kernel.cpu_seconds(self.pid) or 0.0
        there = resident(self.pid)
        if report.memory is not None and there is not None:
            self.known = Known(report.memory, there)

    def look(self, now: float, elapsed: float) -> None:
        """Takes note of what it has said, and of what the kernel says of it. `elapsed`: seconds since the last look."""
        used = kernel.cpu_seconds(self.pid)
        if used is not None:
            self.busy = min(1.0, max(0.0, used - self.cpu_seconds) / max(elapsed, 1e-3))
            self.cpu_seconds = used
        load = self.reports.stats()
        if load is not None:
            self.load, self.heard_at, self.cpu_then = load, now, self.cpu_seconds
        there = resident(self.pid)
        if there is not None:
            self.memory = self.known.at(there) if self.known else Memory(there, there)

    async def why_not_ready(self, seconds: float) -> str:
        """In words, and then it has ended. Empty: it is ready, as its `report` says."""
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


async def start(launcher: Launcher, zygotes: Zygotes, slot: Slot, proven: str) -> Worker:
    """Forks a worker that will serve in `slot`, or starts an interpreter of its own. `proven`: as an earlier worker has
    reported it. Raises OSError."""
    ours, theirs = pair()
    reports = Reports(os.dup(ours.fileno()), words)
    printed = Printed(launcher.output)
    try:
        child, generation = await _started(launcher, zygotes, (slot.socket.fileno(), theirs.fileno()), printed, proven)
    except BaseException:
        reports.close()
        printed.close()
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(printed.end)
    loop = asyncio.get_running_loop()
    child.exited.add_done_callback(lambda _: loop.call_later(LAST_WORDS, _close, (reports, printed, ours)))
    return Worker(child, reports, printed, ours, slot, generation)


def _close(ends: Sequence[Reports | Printed | socket.socket]) -> None:
    for one in ends:
        one.close()


async def _started(
    launcher: Launcher, zygotes: Zygotes, descriptors: tuple[int, int], printed: Printed, proven: str
) -> tuple[Child, int]:
    """And the generation of its zygote. `descriptors`: its socket, and what it reports to."""
    told = in_memory(launcher.worker_config(forked=True, proven=proven, descriptors=descriptors))
    try:
        forked = await zygotes.fork((*descriptors, told, printed.end))
    finally:
        os.close(told)
    if forked is not None:
        return forked, zygotes.generation
    config = launcher.worker_config(forked=False, proven=proven, descriptors=descriptors)
    return launcher.start("process.worker", config, printed, descriptors), 0
