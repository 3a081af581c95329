"""Keeps one release running, or scaled to zero until a request arrives.

The table in `release_transitions` decides what to do. This class performs the actions and reports their results.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from serinus_runtime.process.apology import Apology
from serinus_runtime.process.last_words import ending
from serinus_runtime.process.process_memory import Memory

from serinus.core.disturbance import Cause
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import USUAL, Release, Scale
from serinus.targets.local.host import release_status as now_is
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.listener import Listener
from serinus.targets.local.host.places import Places
from serinus.targets.local.host.release_starts import Starts, words
from serinus.targets.local.host.release_status import State, shown
from serinus.targets.local.host.release_transitions import advance, placed
from serinus.targets.local.host.worker import Launcher, Worker, note, roots, suits, the_long_way
from serinus.targets.local.host.workers import Workers

log = logging.getLogger(__name__)


class ReleaseController:
    """The owner of a release's socket and workers."""

    def __init__(
        self,
        release: Release,
        launcher: Launcher,
        limits: Limits,
        places: Places,
        *,
        old: Worker | None = None,
        scaled_to_zero: bool = False,
        long: bool = False,
        cause: Cause | None = None,
        scale: Scale = USUAL,
    ) -> None:
        """- `old`: a worker of an earlier host, which continues to answer until a new one is ready.
        - `long`: the release is served by the model's own `predict` from the start.
        - `cause`: why its first worker is started. None: it is new, and has no callers yet.
        """
        self.placed = release
        """The release as it was requested. `release` is the form in which it is served."""
        self.scale = scale
        """The present scale. Workers that were started earlier may have another one, until `renew` has replaced
        them."""
        self.least = 0
        """The number of workers that it has at the least while it is active. The next host is told again."""
        self.warm_until = 0.0
        """The earliest time at which it may be scaled to zero, by the loop's clock."""
        self._launcher = launcher
        self._limits = limits
        self._places = places
        self._workers = Workers((release, the_long_way(release)), launcher, limits)
        self._starting: asyncio.Task[None] | None = None
        self._delay: asyncio.TimerHandle | None = None
        self._memory_bytes: int | None = None
        self._active_since: datetime | None = None
        path = launcher.home.release_socket(release.id)
        self._listener = Listener(path, launcher.sockets)
        self.starts = Starts(
            release,
            launcher,
            limits,
            places,
            self._workers,
            self._listener,
            status=lambda: self._status,
            scale=lambda: self.scale,
            tell=self._tell,
            tell_exit=self._tell_exit,
        )
        self._apology = Apology(self._listener.socket)
        self._placement = Placement(release.id, shown(now_is.Status(State.STARTING, 0.0)).state, endpoint=str(path))
        self._status, actions = placed(
            asyncio.get_running_loop().time(),
            scaled_to_zero=scaled_to_zero,
            previous=old.record.pid if old else None,
            previous_ready=old is not None and old.record.ready,
            inherited=self._listener.inherited,
            long=long,
            cause=cause,
        )
        if old is not None:
            self._workers.adopt(old)
            old.process.exited.add_done_callback(lambda _: self._places.successions.look())
            self._tell_exit(old)
        self._perform_all(actions)

    # --- what is seen -------------------------------------------------------------------------------------

    @property
    def release(self) -> Release:
        """The release as it is served at present."""
        return self.starts.served(self._status.long)

    @property
    def placement(self) -> Placement:
        """The placement of the release."""
        state, pid, reason, workers = shown(self._status)
        return replace(
            self._placement,
            state=state,
            reason="; ".join(filter(None, (reason, self.starts.renewals.trouble))),
            pid=pid,
            workers=workers,
            memory_bytes=self._memory_bytes if self._status.answering else None,
            restarts=self._status.restarts,
            crashes=self._status.failures,
            active_since=self._active_since if self._status.state is State.READY else None,
            long=self._status.long,
            scale=self.scale,
            scaled=self._scaled,
            expected=self.least,
            # Workers are forked within a fraction of a second, so those that there may be are as good as there.
            capacity=self.most if state in (PlacementState.READY, PlacementState.SCALED_TO_ZERO) else 0,
            most=self.most,
        )

    @property
    def ready_workers(self) -> Sequence[Worker]:
        """The workers of this host that answer, the main one first. Empty while it is scaled to zero."""
        found = (self._workers.get(pid) for pid in self._status.answering)
        return [worker for worker in found if worker is not None]

    @property
    def ready_since(self) -> float:
        """The time at which it last became ready, by the loop's clock."""
        return self._status.since

    @property
    def own_bytes(self) -> int:
        """The memory that scaling to zero would free."""
        return sum(worker.memory.own for worker in self.ready_workers if worker.memory is not None)

    @property
    def scaled_to_zero(self) -> bool:
        """Whether it is scaled to zero."""
        return self._status.state is State.SCALED_TO_ZERO

    @property
    def alive(self) -> bool:
        """Whether it has a worker, which need not answer."""
        return self._workers.alive

    @property
    def renewable(self) -> bool:
        """Whether it runs on an interpreter of its own, and the zygote of its environment could fork a worker for
        it."""
        worker = self._workers.get(self._status.main)
        if self._status.state is not State.READY or worker is None or worker.forked:
            return False
        return self._launcher.zygotes.ready(
            self._launcher.interpreter(self.release), roots(self._launcher.home, self.release)
        )

    @property
    def most(self) -> int:
        """The largest number of workers that it may have."""
        return max(min(self.scale.max_workers or self._limits.cores, self._limits.cores), 1)

    @property
    def _scaled(self) -> bool:
        """Whether everything that answers for it has its present scale."""
        fits = all(suits(one, self.scale) for one in self._workers.scales)
        return fits and len(self._status.answering) <= self.most

    def memory_limit(self, worker: Worker) -> int | None:
        """Returns the memory limit with which the worker was started. It is not stopped for exceeding a later one
        before it is replaced."""
        return (worker.record.scale or self.scale).memory_limit_bytes

    # --- what it is told ----------------------------------------------------------------------------------

    def activate(self, *, to_stay: bool = True) -> None:
        """Activates the release like a caller. `to_stay`: it stays active for a while."""
        if to_stay:
            self.stay_warm()
        self._tell(now_is.Called())

    def stay_warm(self) -> None:
        """Keeps it from being scaled to zero for a while."""
        self.warm_until = asyncio.get_running_loop().time() + self._limits.young

    def scale_to_zero(self) -> None:
        """Scales to zero if it is ready. Connected callers are answered, and the next caller activates it."""
        self._tell(now_is.ScaleToZero())

    def rescale(self, scale: Scale) -> None:
        """Sets another scale. No request fails because of it.

        What a worker only gets at its start is given to the next one. The surveyor calls `renew` for that.
        """
        self.scale = scale
        self.starts.renewals.reset()
        self._workers.limit_processors(scale)
        if scale.keep_warm:
            self.activate(to_stay=False)

    def replace(self) -> None:
        """Replaces its workers by a forked one. Connected callers are answered, and new ones wait as for an
        activation."""
        if self.renewable:
            self._tell(now_is.Replace())

    def renew(self) -> bool:
        """Starts a worker with the present scale in the place of one with a former scale, which answers until then.

        Returns whether that has begun. It does not while another replacement is in progress, or soon after one has
        failed.
        """
        old = next((one for one in self.ready_workers if not suits(one.record.scale, self.scale)), None)
        if old is None or not self.starts.renewals.due:
            return False
        before = self._status
        self._tell(now_is.Renew(old.record.pid))
        return self._status is not before

    def go_long(self) -> None:
        """Has the release served by the model's own `predict` from now on, because its answers cannot be trusted.

        The present workers answer until one with that is ready, and are then stopped, even if callers are connected. A
        second call does nothing.
        """
        self._tell(now_is.Distrust())

    def ask_for(self, workers: int) -> None:
        """Sets the number of workers of an active release. Helpers are started or stopped."""
        self._tell(now_is.ScaleTo(workers))

    def end(self, why: str) -> None:
        """Ends all of its workers at once, for exceeding a limit. It is started again like after a crash."""
        self._workers.end(why)

    def retire(self, worker: Worker) -> None:
        """Adds another worker of an earlier host, which is to end."""
        self._workers.adopt(worker)
        self._tell_exit(worker)
        self._tell(now_is.LeftBehind(worker.record.pid))

    def weigh(self, worker: Worker, memory: Memory | None) -> None:
        """Records the memory of a worker, and stops it beyond its limit, because a restart is better than a full
        machine."""
        worker.memory = memory
        self._memory_bytes = sum(one.memory.share for one in self.ready_workers if one.memory) or None
        most = self.memory_limit(worker)
        if most is not None and memory is not None and memory.share > most and not worker.why_stopped:
            self._workers.stop_for(
                worker, f"was stopped at {memory.share >> 20} MiB, beyond its limit of {most >> 20} MiB"
            )

    def halt(self) -> None:
        """Starts nothing any more. Its workers continue until `stop`."""
        self._tell(now_is.Halt())

    async def stop(self) -> None:
        """Accepts no new callers, and answers connected ones within the grace period."""
        self.halt()
        self._tell(now_is.Stop())
        await self._workers.settle()
        self._listener.close()

    # --- the table ----------------------------------------------------------------------------------------

    def _tell(self, event: now_is.Event) -> None:
        step = advance(self._status, event, asyncio.get_running_loop().time(), self._limits)
        if step is not None:
            _, self._status, actions = step
            try:
                self._perform_all(actions)
            except OSError as error:  # The actions that were not performed may include the next start.
                self._fail(error)

    def _perform_all(self, actions: Sequence[now_is.Action]) -> None:
        for action in actions:
            self._perform(action)

    def _perform(self, action: now_is.Action) -> None:
        """Performs an action at once, or in a task that reports its result. It must not report another event before it
        returns."""
        loop = asyncio.get_running_loop()
        match action:
            case now_is.StartMain(cause, urgent):
                self._starting = self._workers.spawn(self.starts.main(cause, urgent))
                self._starting.add_done_callback(self._told_fault)
            case now_is.StartHelper():
                self._workers.spawn(self.starts.further())
            case now_is.CancelStart():
                if self._starting is not None:
                    self._starting.cancel()
            case now_is.AwaitCaller():
                loop.add_reader(self._listener.socket.fileno(), self._tell, now_is.Called())
            case now_is.IgnoreCallers():
                loop.remove_reader(self._listener.socket.fileno())
            case now_is.Publish():
                self._listener.publish()
            case now_is.Withdraw():
                self._listener.withdraw()
            case now_is.Delay(seconds):
                log.warning("%s %s; starting it again in %.1f s", self.placed.id, self._status.reason, seconds)
                self._delay = loop.call_later(seconds, self._tell, now_is.DelayOver())
            case now_is.EndDelay():
                if self._delay is not None:
                    self._delay.cancel()
            case now_is.Refuse(seconds):
                self._apology.begin(seconds)
            case now_is.EndRefusal():
                self._apology.end()
            case _:
                self._perform_on_worker(action)

    def _perform_on_worker(self, action: now_is.Action) -> None:
        match action:
            case now_is.NoteReady(pid, main):
                self._note_ready(pid, main)
            case now_is.Shed(pid):
                if worker := self._workers.get(pid):
                    worker.process.send(signal.SIGUSR2)
            case now_is.Drain(pid):
                self._workers.drain(pid)
            case now_is.StopWorker(pid):
                self._workers.stop(pid)
            case now_is.Forget(pid):
                self._workers.forget(pid)

    def _told_fault(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Records a failure of the host itself, so that the release does not seem to be starting."""
        log.error("%s is not kept any more", self.placed.id, exc_info=error)
        self._tell(now_is.Fault(words(f"the host failed to keep it, see its log: {error}")))

    def _tell_exit(self, worker: Worker, reason: str = "") -> None:
        """Reports the end of a worker. `reason` is why. Empty: by its exit status."""

        def ended(exited: asyncio.Future[int | None]) -> None:
            why = worker.why_stopped or reason or f"{ending(exited.result())} while serving"
            if worker.record.pid in self._status.helpers:
                log.warning("a further worker of %s %s", self.placed.id, why)
            self._tell(now_is.Exited(worker.record.pid, words(why)))

        worker.process.exited.add_done_callback(ended)

    # --- what a worker says -------------------------------------------------------------------------------

    def _note_ready(self, pid: int, main: bool) -> None:
        worker = self._workers.get(pid)
        if worker is None or worker.report is None:
            return
        report = worker.report
        worker.take_note(report)
        self.starts.proven = report.proven
        worker.record = replace(worker.record, ready=True)
        note(self._launcher.state_files, worker.record)
        if not main:
            return
        self._memory_bytes, self._active_since = report.memory_bytes, datetime.now(UTC)
        self._placement = replace(
            self._placement, load_seconds=report.load_seconds, warm_up_ms=report.warm_up_ms, way=report.way
        )
        notes = self._status.reason
        log.info("%s is ready, pid %d%s", self.placed.id, pid, f": {notes}" if notes else "")
        self._launcher.zygotes.learn(self._launcher.interpreter(self.starts.served(worker.long)), report.modules)
