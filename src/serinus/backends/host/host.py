"""All placed releases of one home."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from serinus.backends.host.keeper import Keeper, Limits
from serinus.backends.host.logs import log_path, rotate
from serinus.backends.host.processes import Process, memory_bytes
from serinus.backends.host.records import file_name
from serinus.backends.host.worker import Launcher, Worker
from serinus.core.errors import Refused
from serinus.core.values import Placement, Release

log = logging.getLogger(__name__)


class Host:
    """Places and removes releases; the next host places again what is placed. To be used in one event loop."""

    def __init__(self, launcher: Launcher, limits: Limits) -> None:
        self._launcher = launcher
        self._records = launcher.records
        self._limits = limits
        self._keepers: dict[str, Keeper] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Puts everything back, beside the workers that an earlier host has left, of which each release's newest goes
        on answering until it is replaced. The others are stopped."""
        left = list(self._left_by_another())
        newest = {worker.record.release: worker for worker in left}
        releases = self._records.releases()
        for release in releases.values():
            self._keep(release, newest.get(release.id))
        for worker in left:
            if worker.record.release not in releases or worker is not newest[worker.record.release]:
                self._spawn(self._see_off(worker))
        self._surveying = asyncio.create_task(self._survey())

    async def place(self, release: Release) -> None:
        """Durable on return. Refused: something else is placed under this id. OSError: it cannot be kept."""
        if leaving := self._leaving.get(release.id):
            await asyncio.wait({leaving})
        if keeper := self._keepers.get(release.id):
            if replace(keeper.release, created_at=release.created_at) != release:
                raise Refused(f"Another release is placed as {release.id}.", hint="Remove it first.")
            return
        self._records.keep(release)
        self._keep(release, None)

    def remove(self, release_id: str) -> None:
        """Durable on return; its callers are still being answered."""
        file_name(release_id)
        self._records.forget(release_id)
        if keeper := self._keepers.pop(release_id, None):
            self._running.pop(release_id).cancel()
            task = self._leaving[release_id] = self._spawn(self._leave(keeper))
            task.add_done_callback(lambda _: self._leaving.pop(release_id))

    def observe(self) -> Sequence[Placement]:
        return [keeper.placement for keeper in self._keepers.values()]

    async def close(self) -> None:
        """Stops every worker; what is placed stays so for the next host."""
        for task in (self._surveying, *self._running.values()):
            task.cancel()
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers.values()), *self._background)

    # ------------------------------------------------------------------------------------------------------

    def _left_by_another(self) -> Iterator[Worker]:
        for record in self._records.workers():
            process = Process.adopt(record.pid, record.identity)
            if process is None:
                self._records.drop(record.pid)
            else:
                yield Worker(process, record)

    def _keep(self, release: Release, old: Worker | None) -> None:
        keeper = self._keepers[release.id] = Keeper(release, self._launcher, self._limits, old)
        task = self._running[release.id] = asyncio.create_task(keeper.run())
        task.add_done_callback(partial(_tell, keeper))

    async def _leave(self, keeper: Keeper) -> None:
        await keeper.stop()
        await asyncio.to_thread(shutil.rmtree, self._launcher.scratch(keeper.release.id), ignore_errors=True)

    async def _see_off(self, worker: Worker) -> None:
        await worker.process.stop(self._limits.grace)
        self._records.drop(worker.record.pid)

    async def _survey(self) -> None:
        """Memory and log sizes, again and again."""
        while True:
            await asyncio.sleep(self._limits.survey)
            pids = {keeper.release.id: pid for keeper in self._keepers.values() if (pid := keeper.placement.pid)}
            logs = [log_path(self._launcher.home, release_id) for release_id in pids]
            for release_id, (pid, used) in (await asyncio.to_thread(_look, pids, logs)).items():
                if keeper := self._keepers.get(release_id):
                    keeper.weigh(pid, used)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _look(pids: Mapping[str, int], logs: Sequence[Path]) -> Mapping[str, tuple[int, int | None]]:
    for path in logs:
        try:
            rotate(path)
        except OSError as error:
            log.warning("%s could not be rotated: %s", path, error)
    return {release_id: (pid, memory_bytes(pid)) for release_id, pid in pids.items()}


def _tell(keeper: Keeper, task: asyncio.Task[None]) -> None:
    """Of a fault in the host itself, which must not look like a release that is starting."""
    if not task.cancelled() and (error := task.exception()):
        log.error("%s is not kept any more", keeper.release.id, exc_info=error)
        keeper.give_up(f"the host failed to keep it, see its log: {error}")
