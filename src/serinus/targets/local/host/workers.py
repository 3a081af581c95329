"""The worker processes of one release, which are started, drained, stopped, and cleared away."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from serinus.core.release import USUAL, Release, Scale
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.listener import Listener
from serinus.targets.local.host.worker import Launcher, Worker

log = logging.getLogger(__name__)


class Workers:
    """It belongs to one event loop. Which of the workers answer, and why, is not decided here."""

    def __init__(self, releases: Sequence[Release], launcher: Launcher, limits: Limits) -> None:
        """`releases` is the release in each of the ways in which it may be served."""
        self._releases = releases
        self._launcher = launcher
        self._limits = limits
        self._alive: dict[int, Worker] = {}
        self._cleared = False
        """Whether the files that an earlier host's workers may have left are gone or still used."""
        self._clearing = asyncio.Lock()
        """Held while a worker is started, and while the files that the last one has left are removed."""
        self._background: set[asyncio.Task[None]] = set()
        self._begun: list[Scale] = []
        """The scales of the workers that are being started."""

    @property
    def alive(self) -> bool:
        """Whether a worker lives."""
        return bool(self._alive)

    def get(self, pid: int | None) -> Worker | None:
        """None if it has ended."""
        return None if pid is None else self._alive.get(pid)

    def adopt(self, worker: Worker) -> None:
        """Takes over a worker that an earlier host has left."""
        self._cleared = True
        self._add(worker)

    async def start(
        self, release: Release, listener: Listener, proven: str, *, long: bool, scale: Scale = USUAL
    ) -> Worker:
        """See `Launcher.start`. A cancellation must not lose the worker, since it may have been forked already."""
        starting = asyncio.ensure_future(self._start(release, listener, proven, long, scale))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self.spawn(self._abandon(starting))
            raise

    @property
    def scales(self) -> Sequence[Scale | None]:
        """The scales with which the workers that live, or are being started, were started. Draining and stopping
        workers still answer."""
        return [*(worker.record.scale for worker in self._alive.values()), *self._begun]

    def limit_processors(self, scale: Scale) -> None:
        """Limits the processors of all workers that live."""
        for pid in self._alive:
            self._launcher.groups.limit_processors(pid, scale)

    def drain(self, pid: int) -> None:
        """The worker ends when nobody is connected any more, and never closes a connection first."""
        if worker := self._alive.get(pid):
            worker.process.send(signal.SIGUSR1)
            self.spawn(self._drained(worker))
        else:
            self.forget(pid)

    def stop(self, pid: int) -> None:
        """Whoever is connected is answered within the grace period."""
        if worker := self._alive.get(pid):
            self.spawn(self._stopped(worker))
        else:
            self.forget(pid)

    def forget(self, pid: int) -> None:
        """The worker has ended. Serving continues where that cannot be recorded: the next host finds no such
        process."""
        try:
            self._launcher.state_files.drop(pid)
        except OSError as error:
            log.warning("the record of worker %d could not be removed: %s", pid, error.strerror)

    def end(self, why: str) -> None:
        """Stops all workers at once, for something that they did."""
        for worker in self._alive.values():
            if not worker.why_stopped:
                worker.why_stopped = why
                self.spawn(_killed(worker))

    def stop_for(self, worker: Worker, why: str) -> None:
        """Stops a worker for something that it did. It then counts as one that has ended."""
        worker.why_stopped = why
        self.spawn(worker.process.stop(self._limits.grace))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task that `settle` waits for."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def settle(self) -> None:
        """Waits until all of these tasks have ended."""
        while self._background:
            await asyncio.wait(self._background)

    # ------------------------------------------------------------------------------------------------------

    async def _start(self, release: Release, listener: Listener, proven: str, long: bool, scale: Scale) -> Worker:
        self._begun.append(scale)
        try:
            async with self._clearing:
                if not self._cleared:
                    self._cleared = True
                    await asyncio.to_thread(self._clear_all)
                worker = await self._launcher.start(release, listener, proven, long=long, scale=scale)
                self._add(worker)
                return worker
        finally:
            self._begun.remove(scale)

    def _add(self, worker: Worker) -> None:
        self._alive[worker.record.pid] = worker
        worker.process.exited.add_done_callback(lambda _: self._ended(worker))

    def _ended(self, worker: Worker) -> None:
        if self._alive.get(worker.record.pid) is worker:
            del self._alive[worker.record.pid]
        if not self._alive:
            self.spawn(self._clear())

    async def _clear(self) -> None:
        async with self._clearing:
            if not self._alive:
                await asyncio.to_thread(self._clear_all)

    def _clear_all(self) -> None:
        for release in self._releases:
            self._launcher.clear(release)

    async def _abandon(self, starting: asyncio.Future[Worker]) -> None:
        with suppress(OSError):
            worker = await starting
            await worker.process.kill()
            self.forget(worker.record.pid)

    async def _drained(self, worker: Worker) -> None:
        await asyncio.wait({worker.process.exited}, timeout=self._limits.leave)
        await self._stopped(worker)

    async def _stopped(self, worker: Worker) -> None:
        await worker.process.stop(self._limits.grace)
        self.forget(worker.record.pid)


async def _killed(worker: Worker) -> None:
    await worker.process.kill()
