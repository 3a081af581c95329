"""Keeps one release running, or asleep until somebody asks for it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from serinus.core.disturbance import Cause
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Release
from serinus.core.text import fit
from serinus.lib.backoff import Backoff
from serinus.targets.local.host import confinement
from serinus.targets.local.host.apology import Apology
from serinus.targets.local.host.disturbing import SETTLED, Disturbing
from serinus.targets.local.host.last_words import why_ended
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.listener import Listener
from serinus.targets.local.host.process_memory import Memory
from serinus.targets.local.host.processes import ending
from serinus.targets.local.host.reports import Report
from serinus.targets.local.host.sleeping import Waking
from serinus.targets.local.host.turns import Turns
from serinus.targets.local.host.worker import Launcher, Worker, note, roots, the_long_way

log = logging.getLogger(__name__)

_TIME_TO_EXIT = 1.0
"""Seconds that a worker has after it has reported a failure."""
_LONGEST_REASON = 2000
"""Characters: a model may put anything into an exception."""
_STARTS_ON_CALL = 4
"""Times the cores: how many releases may come up at a time, where callers wait for them."""


class BackOff:
    def __init__(self, limits: Limits) -> None:
        self._healthy = limits.healthy
        self._backoff = Backoff(limits.first_delay, limits.longest_delay)

    def after(self, ready_for: float) -> float:
        """Seconds to wait after the death of a worker that had been ready for so long."""
        if ready_for >= self._healthy:
            self._backoff.reset()
            return 0.0
        return self._backoff.pause()


@dataclass(frozen=True)
class Places:
    """What the releases of one host share. Those that somebody waits for are not held up by the others."""

    starts: Turns
    """To load a worker."""
    successions: Turns
    """To have a worker beside one of an earlier host, from the new one's start to the old one's end."""

    @classmethod
    def of(cls, limits: Limits) -> Places:
        starts = Turns(limits.cores, limits.cores * _STARTS_ON_CALL)
        return cls(starts, Turns(limits.succeeding, sys.maxsize))


class Keeper:
    """Owns the release's socket and workers. `old` is a worker that an earlier host left: it goes on answering, on a
    socket of its own, until a new one is ready to take over."""

    def __init__(
        self,
        release: Release,
        launcher: Launcher,
        limits: Limits,
        places: Places,
        *,
        old: Worker | None = None,
        asleep: bool = False,
        long: bool = False,
        cause: Cause | None = None,
    ) -> None:
        """`long`: it is served the long way from the start. `cause`: why its first worker is started; None: it is
        new, and nobody asks for it yet."""
        self.placed = release
        """As it was asked for; `release` is how it is served."""
        self.release = the_long_way(release) if long else release
        self._long = long
        self.warm_until = 0.0
        """By the loop's clock: it is not to sleep before."""
        self.ready_since = 0.0
        """By the loop's clock."""
        self.waking = Waking()
        self.crowd: Callable[[], float] = lambda: 0.0
        """Processes that want each processor; given by who looks at them."""
        self._disturbing = Disturbing(launcher.journal, release.model)
        self._cause = None if asleep else cause
        """Why its next worker is started, where that is the platform's doing."""
        self._launcher = launcher
        self._limits = limits
        self._places = places
        self._old = old
        self._worker: Worker | None = None
        self._helpers: list[Worker] = []
        """Beside `_worker`, as load asks for them; those that are not ready included."""
        self._leaving: list[Worker] = []
        """Told to go when nobody is connected."""
        self._alive: set[Worker] = set()
        self._cleared = old is not None
        """Whether what an earlier host's workers may have left is gone, or is still used."""
        self._clearing = asyncio.Lock()
        """Held while a worker is started, and while what the last one has left is removed."""
        self._background: set[asyncio.Task[None]] = set()
        self._proven = ""
        """Which way its workers have proven; not kept beyond this host, as a machine may change meanwhile."""
        self._asleep = asleep
        self._called = asyncio.Event()
        self._rest = asyncio.Event()
        self._succeed = asyncio.Event()
        """The present worker does not go the way that it should."""
        self._short: list[Worker] = []
        """Workers that go a shorter way than they should: they answer until one that goes the long way is ready."""
        path = launcher.home.release_socket(release.id)
        self._listener = Listener(path, launcher.sockets)
        self._apology = Apology(self._listener.socket)
        state = PlacementState.ASLEEP if asleep else PlacementState.STARTING
        self._placement = Placement(release.id, state, endpoint=str(path), workers=0, long=long)
        if old is None:
            self._listener.publish()
        else:
            self._note(old)
            old.process.exited.add_done_callback(lambda _: self._is_gone(old))

    # --- what is seen -------------------------------------------------------------------------------------

    @property
    def placement(self) -> Placement:
        """An old worker, or a helper, answers while there is no other."""
        ready = self.ready_workers
        shown = replace(self._placement, workers=len(ready))
        old = self._old or next(iter(self._short), None)
        if old is not None and old.record.ready and shown.state is not PlacementState.READY:
            # What keeps a new worker from coming up must be seen before the old one is gone.
            trouble = shown.reason and f"; a new one {shown.reason}"
            whose = "a shorter way" if self._short else "an earlier host's worker"
            reason = f"answered by {whose}{trouble}"
            return replace(shown, state=PlacementState.READY, pid=old.record.pid, reason=reason, workers=1)
        if ready and shown.state is not PlacementState.READY:
            reason = shown.reason and f"answered by its other workers; one {shown.reason}"
            return replace(shown, state=PlacementState.READY, pid=ready[0].record.pid, reason=reason)
        return shown

    @property
    def ready_workers(self) -> Sequence[Worker]:
        """This host's own that answer, the first one first; empty while it is asleep."""
        return [worker for worker in (self._worker, *self._helpers) if worker is not None and worker.record.ready]

    @property
    def own_bytes(self) -> int:
        """What is free again when it sleeps."""
        return sum(worker.memory.own for worker in self.ready_workers if worker.memory is not None)

    @property
    def asleep(self) -> bool:
        return self._asleep

    @property
    def alive(self) -> bool:
        """It has a worker, whether that answers or not."""
        return bool(self._alive)

    # --- what it is told ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled; `stop` then ends what is left."""
        back_off = BackOff(self._limits)
        while True:
            if called := self._asleep:
                await self._until_called()
                self._cause = self._cause or Cause.WAKE
            cause, self._cause = self._cause, None
            reason, ready_for = await self._one_life(called or bool(self._short), cause)
            if not reason:
                continue
            if self._succeed.is_set():  # it has failed on a way that it is not to go any more
                self._succeed.clear()
                continue
            delay = back_off.after(ready_for)
            log.warning("%s %s; starting it again in %.1f s", self.release.id, reason, delay)
            self._set(
                state=PlacementState.FAILED,
                reason=reason[:_LONGEST_REASON],
                pid=None,
                memory_bytes=None,
                awake_since=None,
            )
            if not ready_for and not self._helpers and not self._short:
                self._apology.begin(delay)
            await asyncio.sleep(delay)
            self._apology.end()
            self._set(restarts=self._placement.restarts + 1)
            if ready_for:  # what never came up stays FAILED until it does: another try is no news
                self._set(state=PlacementState.STARTING)

    async def stop(self) -> None:
        """No new callers; those that are connected are answered, within the grace."""
        self._apology.end()
        self._listener.withdraw()
        for worker in (self._worker, self._old, *self._helpers, *self._leaving, *self._short):
            if worker is not None:
                self._spawn(self._see_off(worker))
        self._worker = self._old = None
        self._helpers.clear()
        self._short.clear()
        while self._background:
            await asyncio.gather(*self._background)
        self._listener.close()

    def give_up(self, reason: str) -> None:
        self._set(state=PlacementState.FAILED, reason=reason)

    def sleep(self) -> None:
        """Nothing happens where it is not up. Whoever is connected is still answered; the next one wakes it."""
        if self._worker is not None and self._worker.record.ready and self._old is None:
            self._rest.set()

    def wake(self, *, to_stay: bool = True) -> None:
        """As a caller would. `to_stay`: it stays up for a while."""
        if to_stay:
            self.stay_warm()
        if self._asleep:
            self._called.set()

    def renew(self) -> None:
        """Its workers make room for one that is forked. Whoever is connected is still answered; who comes meanwhile
        waits as for a wake."""
        if self.renewable:
            self._cause = Cause.REPLACEMENT
            self.sleep()
            self._called.set()

    @property
    def renewable(self) -> bool:
        """It is up, on an interpreter of its own although its environment's zygote could fork it a worker."""
        worker = self._worker
        if worker is None or worker.forked or not worker.record.ready or self._old is not None:
            return False
        where = self._launcher.interpreter(self.release)
        return self._launcher.zygotes.ready(where, roots(self._launcher.home, self.release))

    def go_long(self) -> None:
        """Its answers cannot be trusted: it is served the long way from now on. The workers that there are answer
        until one that goes it is ready, and are then stopped, whoever is connected. Nothing happens the second time."""
        if self._long:
            return
        self._long, self._proven, self._cause = True, "", Cause.REPLACEMENT
        self.release = the_long_way(self.release)
        self._set(long=True)
        self._short += self._helpers
        self._helpers.clear()
        self._succeed.set()
        for worker in self._leaving:  # who is connected to them would get one more answer, whenever that is
            self._spawn(self._see_off(worker))

    def stay_warm(self) -> None:
        self.warm_until = asyncio.get_running_loop().time() + self._limits.young

    def ask_for(self, workers: int) -> None:
        """So many, of those that are up: helpers come or go."""
        while len(self._helpers) < workers - 1 and self._worker is not None:
            self._spawn(self._help())
            return  # one at a time: the next look decides about another
        while len(self._helpers) > max(workers - 1, 0):
            self._let_go(self._helpers.pop())

    def end(self, why: str) -> None:
        """Ends all of its workers at once, for what they have done. It is started again like any that dies."""
        for worker in self._alive:
            if not worker.why_stopped:
                worker.why_stopped = why
                self._spawn(_killed(worker))

    def weigh(self, worker: Worker, memory: Memory | None) -> None:
        """Takes note of what the worker uses, and stops it beyond its limit: better a new one than a full machine."""
        worker.memory = memory
        self._set(memory_bytes=sum(one.memory.share for one in self.ready_workers if one.memory) or None)
        most = self.release.settings.memory_limit_bytes
        if most is not None and memory is not None and memory.share > most and not worker.why_stopped:
            worker.why_stopped = f"was stopped at {memory.share >> 20} MiB, beyond its limit of {most >> 20} MiB"
            self._spawn(worker.process.stop(self._limits.grace))

    # --- one worker ---------------------------------------------------------------------------------------

    async def _until_called(self) -> None:
        self._set(state=PlacementState.ASLEEP, reason="", pid=None, memory_bytes=None, awake_since=None)
        await self._caller()
        self._asleep = False

    async def _caller(self) -> None:
        """Watches the socket, where callers wait to be accepted by a worker; until there is one, or it is woken."""
        loop, listening = asyncio.get_running_loop(), self._listener.socket.fileno()
        loop.add_reader(listening, self._called.set)
        try:
            await self._called.wait()
        finally:
            loop.remove_reader(listening)
        self._called.clear()

    @asynccontextmanager
    async def _turn(self, called: bool) -> AsyncIterator[None]:
        """To start a worker. `called`: somebody waits for it; else it becomes urgent as soon as somebody does and
        nobody else answers."""
        if called:
            async with self._places.starts.one(lambda: True):
                yield
            return
        missed = asyncio.create_task(self._until_missed())
        try:
            async with self._places.starts.one(missed.done):
                missed.cancel()
                yield
        finally:
            missed.cancel()

    async def _until_missed(self) -> None:
        if self._old is not None:
            await asyncio.wait({self._old.process.exited})
        await self._caller()
        asyncio.get_running_loop().call_soon(self._places.starts.look)

    async def _one_life(self, called: bool, cause: Cause | None) -> tuple[str, float]:
        """Starts a worker and waits for its end, or until it is to sleep or to be followed by one that goes the long
        way: why it ended (empty: it has not), and for how many seconds it was ready (0: never)."""
        old, clock = self._old, asyncio.get_running_loop().time
        begun = clock()
        async with AsyncExitStack() as place:
            if old is not None:
                await place.enter_async_context(self._places.successions.one(old.process.exited.done))
            with self._disturbing.by(cause) as effect:
                async with self._turn(called):
                    try:
                        worker = self._worker = await self._started()
                    except OSError as error:
                        return f"cannot be started: {error}", 0.0
                    self._set(pid=worker.record.pid)
                    report = await worker.outcome(self._limits.load)
                    reason, ready_for = await self._why_not_ready(worker, report), 0.0
                if report is not None and reason is None:
                    effect.lasts = SETTLED
            if old is not None and report is not None and reason is None:
                self._spawn(_until_gone(old, place.pop_all()))
        if report is not None and reason is None:
            since = self.ready_since = clock()
            # What nobody has called may have waited for its turn and for the zygote, as no wake does.
            took = since - begun if called or not worker.forked else report.load_seconds or 0.0
            self.waking.note(took, self.crowd(), since, forked=worker.forked)
            self._now_ready(worker, report)
            if await self._to_go(worker):
                return "", clock() - since
            reason, ready_for = f"{ending(worker.process.exited.result())} while serving", clock() - since
        self._worker = None
        self._launcher.state_files.drop(worker.record.pid)
        return worker.why_stopped or reason or "", ready_for

    async def _started(self) -> Worker:
        """Not to be lost by a cancellation: it may have been forked already."""
        starting = asyncio.ensure_future(self._start())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._spawn(self._abandon(starting))
            raise

    async def _start(self) -> Worker:
        async with self._clearing:
            if not self._cleared:
                self._cleared = True
                await asyncio.to_thread(self._launcher.clear, self.release)
            worker = await self._launcher.start(self.release, self._listener, self._proven, long=self._long)
            self._note(worker)
            return worker

    def _note(self, worker: Worker) -> None:
        self._alive.add(worker)
        worker.process.exited.add_done_callback(lambda _: self._ended(worker))

    def _ended(self, worker: Worker) -> None:
        self._alive.discard(worker)
        if not self._alive:
            self._spawn(self._clear())

    async def _clear(self) -> None:
        async with self._clearing:
            if not self._alive:
                await asyncio.to_thread(self._launcher.clear, self.release)

    async def _abandon(self, starting: asyncio.Future[Worker]) -> None:
        with suppress(OSError):
            worker = await starting
            await worker.process.kill()
            self._launcher.state_files.drop(worker.record.pid)

    async def _to_go(self, worker: Worker) -> bool:
        """Waits until the worker has ended (False); or until the release is to sleep, which it then does, or goes
        another way than the worker (True)."""
        self._rest.clear()
        if worker.long is self._long:
            self._succeed.clear()
        else:
            self._succeed.set()
        resting, succeeded = (asyncio.create_task(event.wait()) for event in (self._rest, self._succeed))
        try:
            either: set[asyncio.Future[Any]] = {worker.process.exited, resting, succeeded}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()
            succeeded.cancel()
        if worker.process.exited.done():
            return False
        if worker.long is not self._long:
            self._short.append(worker)
            self._worker = None
            return True
        self._asleep = True
        self._worker = None
        for one in (worker, *self._helpers):
            self._let_go(one)
        self._helpers.clear()
        return True

    async def _help(self) -> None:
        """The life of one more worker, whose end is nobody's trouble: the next look decides whether it is missed."""
        with self._disturbing.by(Cause.SCALING) as effect:
            try:
                worker = await self._start()
            except OSError as error:
                log.warning("no further worker of %s: %s", self.release.id, error)
                return
            if self._worker is None or worker.long is not self._long:  # the release has been removed, or sleeps
                self._let_go(worker)
                return
            self._helpers.append(worker)
            report = await worker.outcome(self._limits.load)
            reason = await self._why_not_ready(worker, report)
            if report is not None and reason is None:
                effect.lasts = SETTLED
        if report is not None and reason is None:
            self._mark_ready(worker, report)
            for other in self.ready_workers:
                if other is not worker:  # its callers keep their connections, and would never come to the new one
                    other.process.send(signal.SIGUSR2)
            await asyncio.wait({worker.process.exited})
            reason = ending(worker.process.exited.result())
        if worker in self._helpers:
            self._helpers.remove(worker)
            log.warning("a further worker of %s %s", self.release.id, worker.why_stopped or reason)
            self._launcher.state_files.drop(worker.record.pid)

    async def _why_not_ready(self, worker: Worker, report: Report | None) -> str | None:
        """In words, and then the worker is gone. None: it is ready."""
        process = worker.process
        if report is None and not process.exited.done():
            await process.kill()
            return f"was not ready within {self._limits.load:g} s and was killed"
        if report is None:
            return f"while loading: {why_ended(process.exited.result(), self._launcher.last_words(worker))}"
        if report.state == "failed":
            if report.damaged:
                self._abandon_graph(report.reason)
            return why_ended(await process.gone(_TIME_TO_EXIT), report.reason)
        if self._launcher.confined and not (report.confined and confinement.holds(process.pid)):
            await process.kill()
            return "was killed because it did not confine itself (Landlock, system calls)"
        return None

    def _abandon_graph(self, reason: str) -> None:
        """Of a compiled model that is not what was proven: its own libraries serve the model just as well."""
        log.error("%s is served the long way: %s", self.release.id, reason)
        try:
            self._launcher.state_files.keep_long(self.release.id)
        except OSError as error:  # the next host finds it again
            log.warning("that could not be kept: %s", error.strerror)
        self.go_long()

    def _now_ready(self, worker: Worker, report: Report) -> None:
        self._mark_ready(worker, report)
        python = self._launcher.interpreter(self.release)
        why = self._launcher.zygotes.why_not(python)
        missing = self._launcher.groups.missing(self.release.settings)
        notes = [*report.notes, *([f"starts slowly: {why}"] if why else []), *([missing] if missing else [])]
        reason = "; ".join(notes)[:_LONGEST_REASON]
        self._set(
            state=PlacementState.READY,
            reason=reason,
            load_seconds=report.load_seconds,
            warm_up_ms=report.warm_up_ms,
            memory_bytes=report.memory_bytes,
            way=report.way,
            awake_since=datetime.now(UTC),
        )
        log.info("%s is ready, pid %d%s", self.release.id, worker.record.pid, f": {reason}" if reason else "")
        self._launcher.zygotes.learn(python, report.modules)
        self._take_over()

    def _mark_ready(self, worker: Worker, report: Report) -> None:
        worker.take_note(report)
        self._proven = report.proven
        worker.record = replace(worker.record, ready=True)
        note(self._launcher.state_files, worker.record)

    def _is_gone(self, old: Worker) -> None:
        self._places.successions.look()
        if self._old is old:
            self._take_over()

    def _take_over(self) -> None:
        """New callers are ours from now on; an old worker answers those that it has."""
        self._listener.publish()
        if self._old is not None:
            self.retire(self._old)
            self._old = None
        if self._worker is not None and self._worker.long is self._long:
            for worker in self._short:
                self._spawn(self._see_off(worker))
            self._short.clear()

    # --- the end of one -----------------------------------------------------------------------------------

    def retire(self, worker: Worker) -> None:
        """One that an earlier host has left. Where it listens on a socket of its own, it takes in who waits there, and
        then goes; at once where its answers cannot be trusted."""
        if self._listener.inherited and not self._long:
            self._let_go(worker)
        else:
            self._spawn(self._see_off(worker))

    def _let_go(self, worker: Worker) -> None:
        """It goes when nobody is connected any more, and never closes first."""
        self._leaving.append(worker)
        worker.process.send(signal.SIGUSR1)
        self._spawn(self._gone(worker))

    async def _gone(self, worker: Worker) -> None:
        await asyncio.wait({worker.process.exited}, timeout=self._limits.leave)
        await self._see_off(worker)
        self._leaving.remove(worker)

    async def _see_off(self, worker: Worker) -> None:
        await worker.process.stop(self._limits.grace)
        self._launcher.state_files.drop(worker.record.pid)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _set(self, **changes: Any) -> None:
        if "reason" in changes:
            changes["reason"] = fit(changes["reason"])
        self._placement = replace(self._placement, **changes)


async def _killed(worker: Worker) -> None:
    await worker.process.kill()


async def _until_gone(old: Worker, place: AsyncExitStack) -> None:
    """Keeps its place among the successions."""
    async with place:
        await asyncio.wait({old.process.exited})
