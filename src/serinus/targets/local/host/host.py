"""All placed releases of one home."""

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
"""For the kernel to end what models have left."""


class Host:
    """Places and removes releases; the next host places again what is placed. To be used in one event loop."""

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
        """Puts everything back, beside the workers that an earlier host has left, of which each release's newest goes
        on answering until it is replaced. The others are stopped. What was scaled to zero, stays so."""
        become_subreaper()
        self._launcher.sockets.connect()
        if warning := backlog_warning():
            log.warning("%s", warning)
        left = list(self._left_by_another())
        newest = {worker.record.release: worker for worker in left}
        placed = self._files.placed()
        releases = {name: one.release for name, one in placed.items()}
        popularity = {name: self._surveyor.popularity(name) for name in releases}
        # Of their libraries the old workers have their own: those are there twice until the last of them has gone.
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
        """Durable on return. Refused: something else is placed under this id. InvalidInput: a digest is none. OSError:
        it cannot be kept."""
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
        """Durable on return; its callers are still being answered."""
        file_name(release_id)
        self._files.forget(release_id)
        if controller := self._controllers.pop(release_id, None):
            controller.halt()
            task = self._leaving[release_id] = self._spawn(self._leave(controller))
            task.add_done_callback(lambda _: self._leaving.pop(release_id))

    def activate(self, release_id: str) -> None:
        """Before it is asked for; then it stays up for a while. NotFound: it is not placed."""
        try:
            self._controllers[release_id].activate()
        except KeyError:
            raise NotFound(f"{release_id} is not placed.", hint="Place it first.") from None

    def distrust(self, release_id: str) -> None:
        """It is served the long way from now on, or from when it is placed. Durable on return. OSError: it cannot be
        kept, and nothing has changed."""
        self._files.keep_long(release_id)
        if (controller := self._controllers.get(release_id)) is not None:
            controller.go_long()
            beside = roots(self._launcher.home, controller.release)
            self._launcher.zygotes.expect(self._launcher.interpreter(controller.release), beside, compiled=False)

    def observe(self) -> Sequence[Placement]:
        return [controller.placement for controller in self._controllers.values()]

    async def close(self) -> None:
        """Stops every worker; what is placed stays so for the next host."""
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
        """`soon`: its environment's zygote is started now, not when a worker of it is. `cause`: why its first worker
        is started."""
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
        """If nothing else is placed there: with it goes what its zygote has written."""
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
    """In which they come up again: first those that nobody answers, then one environment after the other, as what
    earlier workers share of their libraries is free only when the last of them has gone; the most asked for first."""
    most: dict[str, float] = defaultdict(float)
    for one in releases:
        most[environment_of(one)] = max(most[environment_of(one)], popularity[one.id])

    def place(one: Release) -> tuple[bool, float, str, float]:
        asked, where = -popularity[one.id], environment_of(one)
        return (True, -most[where], where, asked) if one.id in answered else (False, 0.0, "", asked)

    return sorted(releases, key=place)
