"""Keeps the workers of one release running: starts them, replaces those that die or hang, drains them at the end."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Iterable, Sequence

from serinus_runtime.base.messages import Request, Response
from serinus_runtime.http.server import Server
from serinus_runtime.isolation.scratch import remove
from serinus_runtime.pod import worker as workers
from serinus_runtime.pod.children import Children
from serinus_runtime.pod.launch import Launcher
from serinus_runtime.pod.looks import to_shed
from serinus_runtime.pod.output import Output
from serinus_runtime.pod.release import Collectors, Release
from serinus_runtime.pod.restarts import Restarts
from serinus_runtime.pod.slots import Slot
from serinus_runtime.pod.status import Serving, Status, page
from serinus_runtime.pod.worker import Worker
from serinus_runtime.pod.zygotes import Zygotes
from serinus_runtime.process.last_words import ending

if TYPE_CHECKING:
    from serinus_runtime.pod.collecting import Relay

_LOOK = 1.0
"""Seconds between two looks at the workers."""
_STOPPED = 5.0
"""Seconds between two looks from which on this process itself was not running, so that no worker counts as silent."""
_SHED_EVERY = 10.0
_GRACE = 10.0
"""Seconds that a worker has to end after SIGTERM. It answers what it has read, and sends its records."""
_SHORT = 0.5
"""Seconds without a worker in a slot for which callers may wait."""
_LAST_RECORDS = 2.0
"""Seconds for what the workers have sent to reach the collectors."""
_LEAVE = 600.0
"""Seconds that a replaced worker waits for its callers to close their connections."""


class Supervisor:
    """The supervisor of one pod, in one event loop. There is one slot for each worker. `health` is the bound socket for
    the probes."""

    def __init__(self, release: Release, slots: Sequence[Slot], health: socket.socket, output: Output) -> None:
        self._release = release
        self._output = output
        self._children = Children()
        self._slots = slots
        self._health = health
        self._launcher = Launcher(release, self._children, output)
        self._zygotes = Zygotes(self._launcher)
        self._restarts = Restarts()
        self._wanted = len(slots)
        self._starting: Worker | None = None
        self._ready: list[Worker] = []
        self._leaving: list[Worker] = []
        self._proven = ""
        self._way = ""
        self._notes: list[str] = []
        self._started = self._terminating = False
        self._reason = ""
        self._answered, self._cpu_seconds = 0, 0.0
        """The sums of the workers that have ended."""
        self._shed_at = 0.0
        self._background: set[asyncio.Future[Any]] = set()
        self._relays: dict[asyncio.Future[Any], Relay] = {}

    async def run(self) -> str:
        """Returns an empty string after SIGTERM, once nobody is connected or at the deadline. Returns the reason if no
        worker becomes ready."""
        loop = asyncio.get_running_loop()
        self._changed, self._told, self._hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._children.watch()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._terminate)
        server = Server(self._health, self._page, 1024)
        await server.start()
        watching = asyncio.ensure_future(self._watch())
        keeping = asyncio.ensure_future(self._keep())
        told = asyncio.ensure_future(self._told.wait())
        try:
            await asyncio.wait({keeping, watching, told}, return_when=asyncio.FIRST_COMPLETED)
            for work in (keeping, watching):
                if work.done():
                    work.result()  # a fault of the supervisor's own ends the pod
            await _cancelled(keeping)
            if not self._terminating:
                return self._reason
            await self._drain()
            return ""
        finally:
            for task in (keeping, watching, told, *self._background):
                await _cancelled(task)
            await self._end_all()
            await server.drain(patience=0.0)

    # --- what is seen from outside

    def _page(self, request: Request) -> Response:
        return page(request, self.status)

    @property
    def status(self) -> Status:
        """The present status."""
        alive = [*self._ready, *self._leaving]
        return Status(
            self._release,
            way=self._way,
            notes=self._notes,
            started=self._started,
            terminating=self._terminating,
            hopeless=self._restarts.hopeless and not self._ready,
            reason=self._reason,
            wanted=self._wanted,
            serving=[
                Serving(one.load.waiting, one.load.connections, one.busy, one.memory.share if one.memory else 0)
                for one in self._ready
            ],
            restarts=self._restarts.count,
            requests=self._answered + sum(one.load.requests for one in alive),
            cpu_seconds=self._cpu_seconds + sum(one.cpu_seconds for one in alive),
            landlock=self._launcher.landlock,
            collecting=sum(relay.connected for relay in self._relays.values()),
        )

    # --- keeping workers

    async def _keep(self) -> None:
        """Does one thing at a time, until no worker becomes ready any more."""
        loop = asyncio.get_running_loop()
        await self._clear(first=True)
        while self._ready or not self._restarts.hopeless:
            self._changed.clear()
            due = loop.time() >= self._restarts.not_before
            outdated = self._outdated()
            if self._missing and due:
                await self._add(self._free())
            elif self._zygotes.wanted and self._started:
                await self._zygotes.renew()
            elif outdated is not None and due:
                if await self._add(outdated.slot):
                    self._dismiss(outdated)
            else:
                await self._change(self._pause())

    @property
    def _missing(self) -> bool:
        """Whether a worker is missing. The others are started only after the first one is ready."""
        return len(self._ready) < (self._wanted if self._started else 1)

    def _free(self) -> Slot:
        """Returns a slot without a worker."""
        taken = [one.slot for one in self._ready]
        return next(slot for slot in self._slots if slot not in taken)

    def _outdated(self) -> Worker | None:
        """Returns a worker that does not share the libraries of the present zygote."""
        if self._missing or self._zygotes.child is None:
            return None
        return next((one for one in self._ready if one.generation < self._zygotes.generation), None)

    def _pause(self) -> float | None:
        """Returns the seconds until something is due that no event announces, or None."""
        loop = asyncio.get_running_loop()
        waits = []
        if self._missing or self._outdated() is not None:
            waits.append(self._restarts.not_before - loop.time())
        child = self._zygotes.child
        if self._started and not self._zygotes.unfit and (child is None or not child.alive):
            waits.append(self._zygotes.not_before - loop.time())
        return max(0.01, min(waits)) if waits else None

    async def _change(self, seconds: float | None) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def _add(self, slot: Slot) -> bool:
        """Starts a worker, for which callers wait meanwhile. Returns whether it became ready."""
        slot.await_worker()
        if not self._ready and not self._leaving:
            await self._clear()
        loop = asyncio.get_running_loop()
        try:
            worker = self._starting = await workers.start(self._launcher, self._zygotes, slot, self._proven)
            reason = await worker.why_not_ready(self._release.load_seconds)
        except OSError as error:
            reason = workers.words(f"it cannot be started: {error}")
        if reason:
            self._starting = None
            self._reason = reason
            self._restarts.start_failed(loop.time())
            self._spare_callers(slot)
            self._output.say(f"a worker of {self._release.release} did not become ready: {reason}")
            return False
        self._take(worker)
        self._starting = None
        if self._wanted > 1 and worker.report is not None:
            await self._zygotes.learn(worker.report.modules)
            self._watch_zygote()
        return True

    def _take(self, worker: Worker) -> None:
        """Takes over a worker that is ready. The others close half of their connections, because callers that keep
        theirs would never connect to the new one."""
        report = worker.report
        assert report is not None
        self._restarts.ready()
        for other in self._ready:
            other.child.send(signal.SIGUSR2)
        self._ready.append(worker)
        worker.child.exited.add_done_callback(lambda _: self._ended(worker))
        if self._release.collectors is not None:
            self._relay(self._release.collectors, worker)
        self._proven = report.proven
        if not self._started:
            self._started, self._way, self._notes = True, report.way, list(report.notes)
            notes = f": {'; '.join(self._notes)}" if self._notes else ""
            self._output.say(f"{self._release.release} is ready after {report.load_seconds or 0:g} s of loading{notes}")
        self._watch_zygote()

    def _relay(self, collectors: Collectors, worker: Worker) -> None:
        """Relays the worker's records until it has ended and everything that it has sent is relayed."""
        from serinus_runtime.pod.collecting import Relay  # with TLS, which takes memory

        relay = Relay(collectors, worker.wire, self._output.say)
        running = asyncio.ensure_future(relay.run())
        self._relays[running] = relay
        running.add_done_callback(self._relays.pop)

    def _spare_callers(self, slot: Slot) -> None:
        """Sends callers to other slots, or answers them, if there will be no worker in this slot for a while."""
        pause = self._restarts.not_before - asyncio.get_running_loop().time()
        if any(one.slot is slot for one in self._ready) or pause < _SHORT:
            return
        if self._ready:
            slot.leave()
        else:
            slot.refuse(pause)

    def _watch_zygote(self) -> None:
        child = self._zygotes.child
        if child is not None:
            child.exited.add_done_callback(lambda _: self._changed.set())

    def _ended(self, worker: Worker) -> None:
        self._answered += worker.load.requests
        self._cpu_seconds += worker.cpu_seconds
        if worker in self._leaving:
            self._leaving.remove(worker)
            return
        self._ready.remove(worker)
        if not self._terminating:
            now = asyncio.get_running_loop().time()
            self._reason = worker.why_stopped or f"a worker ended while serving: {ending(worker.child.exited.result())}"
            self._restarts.died(now - worker.ready_since, now)
            self._spare_callers(worker.slot)
            self._output.say(f"{self._release.release}: {self._reason}")
        self._changed.set()

    def _dismiss(self, worker: Worker) -> None:
        """Drains a worker that another one has replaced. Its callers are still answered."""
        if worker in self._ready:
            self._ready.remove(worker)
            self._leaving.append(worker)
            worker.child.send(signal.SIGUSR1)
            self._spawn(_stopped(worker, _LEAVE))

    async def _clear(self, *, first: bool = False) -> None:
        """Removes the files of workers while none is alive. With `first`, also those of an earlier zygote."""
        zygote, own = self._launcher.scratches
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, lambda: remove(zygote, itself=False, but=() if first else (".zygote",)))
            await loop.run_in_executor(None, remove, own)
        except OSError as error:
            self._output.say(f"what earlier workers have left could not be removed: {error.strerror}")

    # --- watching them

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(_LOOK)
            now = loop.time()
            self._look(now, now - last)
            last = now

    def _look(self, now: float, elapsed: float) -> None:
        self._children.end_orphans()
        for worker in [*self._ready, *self._leaving]:
            worker.look(now, elapsed)
            if elapsed > _STOPPED:
                worker.active_at = now
            self._judge(worker, now)
        shed = to_shed([one.load.connections for one in self._ready])
        if shed is not None and now - self._shed_at >= _SHED_EVERY and not self._terminating:
            self._shed_at = now
            self._ready[shed].child.send(signal.SIGUSR2)

    def _judge(self, worker: Worker, now: float) -> None:
        """Ends a worker that hangs or uses too much memory."""
        if worker.why_stopped or self._terminating:
            return
        idle, most = now - worker.active_at, self._release.memory_limit_bytes
        if idle > self._release.hang_seconds:
            worker.why_stopped = f"a worker was killed because it did nothing for {idle:.0f} s"
            self._spawn(worker.child.kill())
        elif most is not None and worker.memory is not None and worker.memory.share > most:
            there = worker.memory.share >> 20
            worker.why_stopped = f"a worker was stopped at {there} MiB, beyond its limit of {most >> 20} MiB"
            self._spawn(_stopped(worker, 0.0))

    # --- the end

    def _terminate(self) -> None:
        """Handles SIGTERM. The second one ends the wait for callers."""
        if self._terminating:
            self._hurry.set()
        self._terminating = True
        self._told.set()

    async def _drain(self) -> None:
        """Accepts new callers for a while. Then answers those that are connected until they leave, or the deadline."""
        self._output.say(f"{self._release.release} is terminating")
        if self._starting is not None:
            self._starting.child.send(signal.SIGTERM)
        await self._zygotes.close()
        self._children.end_orphans()  # a worker that was just being forked
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({hurry}, timeout=self._release.accept_seconds)
        for slot in self._slots:
            slot.close()
        everyone = [*self._ready, *self._leaving]
        for worker in everyone:
            worker.child.send(signal.SIGUSR1)
        gone = asyncio.ensure_future(_gone(everyone))
        await asyncio.wait({hurry, gone}, timeout=self._release.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (hurry, gone):
            await _cancelled(task)

    async def _end_all(self) -> None:
        """Ends all processes."""
        everyone = [*self._ready, *self._leaving, *([self._starting] if self._starting else [])]
        await asyncio.gather(*(_stopped(worker, 0.0) for worker in everyone))
        await self._zygotes.close()
        self._children.end_orphans()
        if self._relays:
            await asyncio.wait(set(self._relays), timeout=_LAST_RECORDS)
        for task in list(self._relays):
            await _cancelled(task)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _stopped(worker: Worker, patience: float) -> None:
    """Waits `patience` seconds for a worker to end, sends SIGTERM, and kills it after the grace period."""
    await asyncio.wait({worker.child.exited}, timeout=patience)
    worker.child.send(signal.SIGTERM)
    await worker.child.gone(_GRACE)


async def _gone(everyone: Iterable[Worker]) -> None:
    for worker in everyone:
        await asyncio.wait({worker.child.exited})


async def _cancelled(task: asyncio.Future[Any]) -> None:
    """Cancels a task and waits for its end. Its exception is discarded."""
    task.cancel()
    await asyncio.wait({task})
