"""The host: all placed releases of one home."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from serinus_runtime.isolation.scratch import remove

from serinus.core.disturbance import Cause
from serinus.core.errors import NotFound, Refused
from serinus.core.placement import Placement
from serinus.core.release import USUAL, Release, Scale
from serinus.targets.local.host.disk import Disk
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.listener import backlog_warning
from serinus.targets.local.host.places import Places
from serinus.targets.local.host.processes import Process, become_subreaper, no_orphans
from serinus.targets.local.host.release_controller import ReleaseController
from serinus.targets.local.host.starving import Starving
from serinus.targets.local.host.state_files import file_name
from serinus.targets.local.host.surveyor import Surveyor
from serinus.targets.local.host.worker import Launcher, Worker, environment_of, roots
from serinus.targets.local.host.zygotes import key

log = logging.getLogger(__name__)

_ORPHANS_SECONDS = 5.0
"""The time limit for ending processes that models have left behind."""


class Host:
    """Places and removes releases. The next host places them again. For one event loop."""

    def __init__(self, launcher: Launcher, limits: Limits) -> None:
        self._launcher = launcher
        self._files = launcher.state_files
        self._limits = limits
        self._places = Places.of(limits)
        self._controllers: dict[str, ReleaseController] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._surveyor = Surveyor(launcher, limits, self._controllers)
        self._disk = Disk(launcher, limits, self._controllers)
        self._starving = Starving(launcher.journal, limits, self._controllers)

    def start(self) -> None:
        """Places all releases again, beside the workers of an earlier host.

        The newest worker of each release continues to answer until it is replaced, and the others are stopped. Releases
        that were scaled to zero stay so.
        """
        become_subreaper()
        self._launcher.sockets.connect()
        if warning := backlog_warning():
            log.warning("%s", warning)
        left = list(self._left_by_another())
        newest = {worker.record.release: worker for worker in left}
        placed = self._files.placed()
        releases = {name: one.release for name, one in placed.items()}
        popularity = {name: self._surveyor.popularity(name) for name in releases}
        # The old workers have their own copies of libraries, which exist twice until the last of these workers has
        # ended.
        later = {self._launcher.interpreter(release) for name, release in releases.items() if name in newest}
        for release in in_order(releases.values(), newest.keys(), popularity):
            scale = placed[release.id].scale
            at_zero, soon = (
                self._stays_at_zero(release, scale, newest),
                self._launcher.interpreter(release) not in later,
            )
            self._keep(release, scale, newest.get(release.id), scaled_to_zero=at_zero, soon=soon, cause=Cause.RESTART)
        for worker in left:
            if worker.record.release not in releases:
                self._spawn(self._see_off(worker))
            elif worker is not newest[worker.record.release]:
                self._controllers[worker.record.release].retire(worker)
        self._watching = [asyncio.create_task(part.run()) for part in (self._surveyor, self._disk, self._starving)]
        self._holding = asyncio.create_task(self._launcher.sockets.run())

    async def place(self, release: Release, scale: Scale = USUAL) -> None:
        """Places a release durably. Raises Refused where a different release has this id, InvalidInput where a digest
        is not valid, and OSError where it cannot be stored."""
        self._launcher.check(release)
        if leaving := self._leaving.get(release.id):
            await asyncio.wait({leaving})
        if controller := self._controllers.get(release.id):
            if replace(controller.placed, created_at=release.created_at) != release:
                raise Refused(f"Another release is placed as {release.id}.", hint="Remove it first.")
            if controller.scale != scale:
                self._files.keep(controller.placed, scale)
                log.info("%s gets another scale", release.id)
                controller.rescale(scale)
            return
        self._files.keep(release, scale)
        self._keep(release, scale, None).stay_warm()

    def remove(self, release_id: str) -> None:
        """Removes a release durably. Connected callers are still answered."""
        file_name(release_id)
        self._files.forget(release_id)
        if controller := self._controllers.pop(release_id, None):
            controller.halt()
            task = self._leaving[release_id] = self._spawn(self._leave(controller))
            task.add_done_callback(lambda _: self._leaving.pop(release_id))

    def activate(self, release_id: str) -> None:
        """Activates a release, and keeps it active for a while. Raises NotFound where it is not placed."""
        try:
            self._controllers[release_id].activate()
        except KeyError:
            raise NotFound(f"{release_id} is not placed.", hint="Place it first.") from None

    def expect(self, release_id: str, workers: int) -> None:
        """Has the release keep at least so many workers while it is active. Does nothing where it is not placed."""
        if (controller := self._controllers.get(release_id)) is not None:
            controller.least = workers

    def distrust(self, release_id: str) -> None:
        """Has the release served by the model's own `predict`, now or when it is placed. Durable. After OSError nothing
        has changed."""
        self._files.keep_long(release_id)
        if (controller := self._controllers.get(release_id)) is not None:
            controller.go_long()
            beside = roots(self._launcher.home, controller.release)
            self._launcher.zygotes.expect(self._launcher.interpreter(controller.release), beside, compiled=False)

    def observe(self) -> Sequence[Placement]:
        """Returns all placements."""
        return [controller.placement for controller in self._controllers.values()]

    async def close(self) -> None:
        """Stops every worker. Releases stay placed for the next host."""
        self._launcher.journal.mark(Cause.RESTART, self._limits.grace)
        for task in self._watching:
            task.cancel()
        self._surveyor.keep()
        for controller in self._controllers.values():
            controller.halt()
        await self._launcher.zygotes.close()
        await asyncio.gather(*(controller.stop() for controller in self._controllers.values()), *self._background)
        await no_orphans(_ORPHANS_SECONDS)
        self._launcher.wires.close()
        self._holding.cancel()

    # ------------------------------------------------------------------------------------------------------

    def _left_by_another(self) -> Iterator[Worker]:
        for record in self._files.workers():
            process = Process.adopt(record.pid, record.identity)
            if process is None:
                self._files.drop(record.pid)
            else:
                self._launcher.wires.take_over(record, process)
                yield Worker(process, record)

    def _stays_at_zero(self, release: Release, scale: Scale, newest: Mapping[str, Worker]) -> bool:
        left = release.id in newest or scale.keep_warm
        return not left and self._surveyor.was_scaled_to_zero(release.id)

    def _keep(
        self,
        release: Release,
        scale: Scale,
        old: Worker | None,
        *,
        scaled_to_zero: bool = False,
        soon: bool = True,
        cause: Cause | None = None,
    ) -> ReleaseController:
        """Starts keeping a release. `soon`: the zygote of its environment is started now, and not when a worker needs
        it. `cause`: why its first worker is started."""
        long = self._files.is_long(release.id)
        controller = ReleaseController(
            release,
            self._launcher,
            self._limits,
            self._places,
            old=old,
            scaled_to_zero=scaled_to_zero,
            long=long,
            cause=cause,
            scale=scale,
        )
        beside, compiled = roots(self._launcher.home, controller.release), controller.release.compiled is not None
        self._launcher.zygotes.expect(
            self._launcher.interpreter(controller.release), beside, compiled=compiled, soon=soon
        )
        self._controllers[release.id] = controller
        return controller

    async def _leave(self, controller: ReleaseController) -> None:
        await controller.stop()
        for release in (controller.placed, controller.release):
            await asyncio.to_thread(self._launcher.clear, release)
            await self._leave_environment(self._launcher.interpreter(release))

    async def _leave_environment(self, python: Path) -> None:
        """Stops the zygote of the environment and removes its files, if no other release uses it."""
        if self._used(python):
            return
        await self._launcher.zygotes.leave(python)
        if not self._used(python):
            with suppress(OSError):
                await asyncio.to_thread(remove, self._launcher.home.scratch / key(python))

    def _used(self, python: Path) -> bool:
        return any(
            self._launcher.interpreter(controller.release) == python for controller in self._controllers.values()
        )

    async def _see_off(self, worker: Worker) -> None:
        await worker.process.stop(self._limits.grace)
        self._files.drop(worker.record.pid)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def in_order(releases: Iterable[Release], answered: Collection[str], popularity: Mapping[str, float]) -> list[Release]:
    """Returns releases in the order in which they are started again: first those that nobody answers, then one
    environment after the other, because libraries of earlier workers are only freed when the last of them has ended.
    The most popular releases come first."""
    most: dict[str, float] = defaultdict(float)
    for one in releases:
        most[environment_of(one)] = max(most[environment_of(one)], popularity[one.id])

    def place(one: Release) -> tuple[bool, float, str, float]:
        asked, where = -popularity[one.id], environment_of(one)
        return (True, -most[where], where, asked) if one.id in answered else (False, 0.0, "", asked)

    return sorted(releases, key=place)
