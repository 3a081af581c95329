"""Keeps one release running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from serinus.backends.host.listener import Listener
from serinus.backends.host.processes import ending
from serinus.backends.host.worker import Launcher, Report, Worker, note
from serinus.core.values import Placement, PlacementState, Release

log = logging.getLogger(__name__)

_TIME_TO_EXIT = 1.0
"""Seconds that a worker has after it has reported a failure."""
_LONGEST_REASON = 2000
"""Characters: a model may put anything into an exception."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    load: float = 120.0
    """Until a worker must be ready."""
    grace: float = 10.0
    """To finish what is in flight after SIGTERM."""
    first_delay: float = 0.1
    """Before a worker that died is started again; doubles with every death ..."""
    longest_delay: float = 30.0
    """... up to this ..."""
    healthy: float = 60.0
    """... and starts anew after a worker that was ready for so long."""
    survey: float = 2.0
    """Between two looks at memory and log sizes."""


class BackOff:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._next = limits.first_delay

    def after(self, ready_for: float) -> float:
        """Seconds to wait after the death of a worker that had been ready for so long."""
        if ready_for >= self._limits.healthy:
            self._next = self._limits.first_delay
        delay, self._next = self._next, min(self._next * 2, self._limits.longest_delay)
        return delay


class Keeper:
    """Owns the release's socket and worker. `old` is a worker that an earlier host left: it goes on answering, on a
    socket of its own, until a new one is ready to take over."""

    def __init__(self, release: Release, launcher: Launcher, limits: Limits, old: Worker | None = None) -> None:
        self.release = release
        self._launcher = launcher
        self._limits = limits
        self._old = old
        self._worker: Worker | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._why_stopped = ""
        path = launcher.home.release_socket(release.id)
        self._listener = Listener(path)
        self._placement = Placement(release.id, PlacementState.STARTING, endpoint=str(path))
        if old is None:
            self._listener.publish()
        else:
            old.process.exited.add_done_callback(lambda _: self._take_over() if self._old is old else None)

    @property
    def placement(self) -> Placement:
        old = self._old
        if old is not None and old.record.ready and self._placement.state is not PlacementState.READY:
            # What keeps a new worker from coming up must be seen before the old one is gone.
            trouble = self._placement.reason and f"; a new one {self._placement.reason}"
            reason = f"answered by an earlier host's worker{trouble}"
            return replace(self._placement, state=PlacementState.READY, pid=old.record.pid, reason=reason)
        return self._placement

    async def run(self) -> None:
        """Until cancelled; `stop` then ends what is left."""
        back_off = BackOff(self._limits)
        while True:
            reason, ready_for = await self._one_life()
            delay = back_off.after(ready_for)
            log.warning("%s %s; starting it again in %.1f s", self.release.id, reason, delay)
            self._set(state=PlacementState.FAILED, reason=reason[:_LONGEST_REASON], pid=None, memory_bytes=None)
            await asyncio.sleep(delay)
            self._set(restarts=self._placement.restarts + 1)
            if ready_for:  # what never came up stays FAILED until it does: another try is no news
                self._set(state=PlacementState.STARTING)

    async def stop(self) -> None:
        """No new callers; those that are connected are answered, within the grace."""
        self._listener.withdraw()
        for worker in (self._worker, self._old):
            if worker is not None:
                self._spawn(self._see_off(worker))
        self._worker = self._old = None
        await asyncio.gather(*self._background)
        self._listener.close()

    def give_up(self, reason: str) -> None:
        self._set(state=PlacementState.FAILED, reason=reason)

    def weigh(self, pid: int, memory_bytes: int | None) -> None:
        """Takes note of what the worker uses, and stops it beyond its limit: better a new one than a full machine."""
        worker = self._worker
        if worker is None or worker.record.pid != pid:
            return
        self._set(memory_bytes=memory_bytes)
        most = self.release.settings.memory_limit_bytes
        if most is not None and memory_bytes is not None and memory_bytes > most and not self._why_stopped:
            self._why_stopped = f"was stopped at {memory_bytes >> 20} MiB, beyond its limit of {most >> 20} MiB"
            self._spawn(worker.process.stop(self._limits.grace))

    # --- one worker ---------------------------------------------------------------------------------------

    async def _one_life(self) -> tuple[str, float]:
        """Starts a worker and waits for its end: why it ended, and for how many seconds it was ready (0: never)."""
        self._why_stopped = ""
        try:
            worker = self._worker = self._launcher.start(self.release, self._listener)
        except OSError as error:
            return f"cannot be started: {error}", 0.0
        self._set(pid=worker.record.pid)
        report = await worker.outcome(self._limits.load)
        reason, ready_for = await self._why_not_ready(worker, report), 0.0
        if report is not None and reason is None:
            clock = asyncio.get_running_loop().time
            since = clock()
            self._now_ready(worker, report)
            await asyncio.wait({worker.process.exited})
            reason, ready_for = f"{ending(worker.process.exited.result())} while serving", clock() - since
        self._worker = None
        self._launcher.records.drop(worker.record.pid)
        return self._why_stopped or reason or "", ready_for

    async def _why_not_ready(self, worker: Worker, report: Report | None) -> str | None:
        """In words, and then the worker is gone. None: it is ready."""
        process = worker.process
        if report is None and not process.exited.done():
            await process.kill()
            return f"was not ready within {self._limits.load:g} s and was killed"
        if report is None:
            return f"{ending(process.exited.result())} while loading"
        if report.state == "failed":
            return f"{ending(await process.gone(_TIME_TO_EXIT))}: {report.reason}"
        if self._launcher.confined and not report.confined:
            await process.kill()
            return "was killed because it could not confine itself (Landlock)"
        return None

    def _now_ready(self, worker: Worker, report: Report) -> None:
        worker.record = replace(worker.record, ready=True)
        note(self._launcher.records, worker.record)
        self._set(
            state=PlacementState.READY,
            reason="; ".join(report.notes)[:_LONGEST_REASON],
            load_seconds=report.load_seconds,
            memory_bytes=report.memory_bytes,
        )
        log.info("%s is ready, pid %d", self.release.id, worker.record.pid)
        self._take_over()

    def _take_over(self) -> None:
        """New callers are ours from now on; an old worker answers those that it has."""
        self._listener.publish()
        if self._old is not None:
            self._spawn(self._see_off(self._old))
            self._old = None

    async def _see_off(self, worker: Worker) -> None:
        await worker.process.stop(self._limits.grace)
        self._launcher.records.drop(worker.record.pid)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _set(self, **changes: Any) -> None:
        self._placement = replace(self._placement, **changes)
