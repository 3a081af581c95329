"""Starts the workers of one release, and tells what became of each of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from serinus.core.disturbance import Cause
from serinus.core.release import Release, Scale
from serinus.core.text import fit
from serinus.targets.local.host import release_status as now_is
from serinus.targets.local.host.disturbing import SETTLED, Disturbing
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.listener import Listener
from serinus.targets.local.host.places import Places, until_gone
from serinus.targets.local.host.readiness import why_not_ready
from serinus.targets.local.host.renewals import Renewals
from serinus.targets.local.host.scale_to_zero import ActivationTimes
from serinus.targets.local.host.worker import Launcher, Worker, the_long_way
from serinus.targets.local.host.workers import Workers

log = logging.getLogger(__name__)

_LONGEST_REASON = 2000
"""The largest number of characters of a reason, because a model may put anything into an exception."""


class Starts:
    """Starts workers for a `ReleaseController`. Every result is told to it as an event."""

    def __init__(
        self,
        release: Release,
        launcher: Launcher,
        limits: Limits,
        places: Places,
        workers: Workers,
        listener: Listener,
        *,
        status: Callable[[], now_is.Status],
        scale: Callable[[], Scale],
        tell: Callable[[now_is.Event], None],
        tell_exit: Callable[[Worker, str], None],
    ) -> None:
        """`status` and `scale` return those of the release at present. `tell` takes events. `tell_exit` is called for
        each worker that has a process, with the reason where it did not become ready."""
        self.activation_times = ActivationTimes()
        self.crowd: Callable[[], float] = lambda: 0.0
        """Returns how many processes want each processor. The surveyor sets it."""
        self.proven = ""
        """The faster way that the workers have proven. It is not stored, because the machine may change."""
        self.renewals = Renewals(limits, asyncio.get_running_loop().time)
        self._release = release
        self._launcher = launcher
        self._limits = limits
        self._places = places
        self._workers = workers
        self._listener = listener
        self._disturbing = Disturbing(launcher.journal, release.model)
        self._status = status
        self._scale = scale
        self._tell = tell
        self._tell_exit = tell_exit

    async def main(self, cause: Cause | None, urgent: bool) -> None:
        """Starts the main worker: from waiting for its turn until it is ready or has ended."""
        clock = asyncio.get_running_loop().time
        previous = self._workers.get(self._status().previous)
        begun, old = clock(), previous.process if previous is not None else None
        async with AsyncExitStack() as place:
            if old is not None:
                await place.enter_async_context(self._places.successions.one(old.exited.done))
            with self._disturbing.by(cause) as effect:
                async with self._places.start(self._listener.socket, old, urgent):
                    outcome = await self._started()
                if isinstance(outcome, Worker):
                    effect.lasts = SETTLED
            if old is not None and isinstance(outcome, Worker):
                self._workers.spawn(until_gone(old, place.pop_all()))
        if isinstance(outcome, now_is.NotReady):
            self._tell(outcome)
            return
        loads = outcome.report.load_seconds if outcome.report else None
        # A release without callers may have waited for its turn and for the zygote, unlike in an activation.
        took = clock() - begun if urgent or not outcome.forked else loads or 0.0
        self.activation_times.note(took, self.crowd(), clock(), forked=outcome.forked)
        self._tell(now_is.Ready(outcome.record.pid, self.notes(outcome)))
        self._tell_exit(outcome, "")

    async def further(self) -> None:
        """Starts another worker, or one in the place of another: until it is ready or has ended."""
        renewing = self._status().renewing is not None and self._status().renewal is None
        with self._disturbing.by(Cause.REPLACEMENT if renewing else Cause.SCALING) as effect:
            try:
                worker = await self._start()
            except OSError as error:
                log.warning("no further worker of %s: %s", self._release.id, error)
                if renewing:
                    self.renewals.failed(words(f"cannot be started: {error}"))
                self._tell(now_is.HelperNotStarted())
                return
            self._tell(now_is.HelperStarted(worker.record.pid, worker.long))
            reason = await self._why_not_ready(worker)
            if reason is None:
                effect.lasts = SETTLED
        if reason is None:
            self._tell(now_is.Ready(worker.record.pid, self.notes(worker)))
        if renewing and reason is None:
            self.renewals.reset()
        elif reason is not None and worker.record.pid == self._status().renewal:
            self.renewals.failed(words(worker.why_stopped or reason))
        self._tell_exit(worker, reason or "")

    async def _started(self) -> Worker | now_is.NotReady:
        """Returns a worker that is ready, or why there is none."""
        long = self._status().long
        try:
            worker = await self._start()
        except OSError as error:
            return now_is.NotReady(None, words(f"cannot be started: {error}"), long)
        self._tell(now_is.Started(worker.record.pid, worker.long))
        reason = await self._why_not_ready(worker)
        if reason is None:
            return worker
        return now_is.NotReady(worker.record.pid, words(worker.why_stopped or reason), worker.long)

    async def _start(self) -> Worker:
        """Returns a worker with the way to predict that the release has at present."""
        long = self._status().long
        proven = "" if long else self.proven
        return await self._workers.start(self.served(long), self._listener, proven, long=long, scale=self._scale())

    async def _why_not_ready(self, worker: Worker) -> str | None:
        return await why_not_ready(worker, self._launcher, self._limits.load, self._abandon_graph)

    def _abandon_graph(self, reason: str) -> None:
        """Has the release served by the model's own libraries, because its compiled model is not the one that was
        proven."""
        log.error("%s is served by the model's own predict: %s", self._release.id, reason)
        try:
            self._launcher.state_files.keep_long(self._release.id)
        except OSError as error:  # The next host will find it again.
            log.warning("that could not be kept: %s", error.strerror)
        self._tell(now_is.Distrust())

    def notes(self, worker: Worker) -> str:
        """Returns what people should know of a release that is ready."""
        why = self._launcher.zygotes.why_not(self._launcher.interpreter(self.served(worker.long)))
        missing = self._launcher.groups.missing(self._scale())
        said = worker.report.notes if worker.report else []
        return words("; ".join([*said, *([f"starts slowly: {why}"] if why else []), *([missing] if missing else [])]))

    def served(self, long: bool) -> Release:
        """Returns the release as it is served."""
        return the_long_way(self._release) if long else self._release


def words(reason: str) -> str:
    """Returns text of a model or a tool as it may be shown."""
    return fit(reason[:_LONGEST_REASON])
