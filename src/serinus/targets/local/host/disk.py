"""Limits for what models write to disk: the scratch directory and the output of a release, and of a zygote.

Ordinary users have no quotas, so the use is measured repeatedly. A worker that exceeds a limit is ended, and its files
are removed then. Files whose name was removed are not seen. The size of each file is limited by the process's own
limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from serinus_runtime.isolation.scratch import Bounds, excess, remove

from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.logs import log_path, rotate, zygote_log
from serinus.targets.local.host.release_controller import ReleaseController
from serinus.targets.local.host.state_files import file_name
from serinus.targets.local.host.worker import Launcher
from serinus.targets.local.host.zygotes import key

log = logging.getLogger(__name__)


class Disk:
    """For one event loop. `controllers` are those of the host by release."""

    def __init__(self, launcher: Launcher, limits: Limits, controllers: Mapping[str, ReleaseController]) -> None:
        self._launcher = launcher
        self._limits = limits
        self._controllers = controllers
        self._bounds = Bounds(limits.scratch_bytes, limits.scratch_files)

    async def run(self) -> None:
        """Measures until it is cancelled."""
        while True:
            await asyncio.sleep(self._limits.look)
            try:
                await self.look()
            except Exception:  # Only this measurement has failed. Serving continues, and the next one may succeed.
                log.exception("a look at what models have written failed")

    async def look(self) -> None:
        """Measures once."""
        home, zygotes = self._launcher.home, self._launcher.zygotes
        living = [controller for controller in self._controllers.values() if controller.alive]
        there = zygotes.pids()
        logs = [log_path(home, controller.release.id) for controller in living]
        logs += [zygote_log(home, key(python)) for python in there]
        of_workers = frozenset(map(file_name, self._controllers))
        written = [self._launcher.scratches(controller.release) for controller in living]
        found = await asyncio.to_thread(self._measured, logs, written)
        for controller, why in zip(living, found, strict=True):
            if why:
                controller.end(f"was ended because it had {why} in its scratch directory")
        for python in there:
            own = home.scratch / key(python)
            if why := await asyncio.to_thread(excess, own, self._bounds, of_workers):
                await zygotes.end(python, f"it had {why} in its scratch directory")
                with suppress(OSError):
                    await asyncio.to_thread(remove, own, but=of_workers)

    def _measured(self, logs: Iterable[Path], written: Iterable[Iterable[Path]]) -> Sequence[str]:
        """Returns what each release has exceeded, after shortening the logs."""
        self._shorten(logs)
        return [next(filter(None, (excess(one, self._bounds) for one in directories)), "") for directories in written]

    def _shorten(self, logs: Iterable[Path]) -> None:
        for path in logs:
            try:
                rotate(path, self._limits.log_bytes)
            except OSError as error:
                log.warning("%s could not be kept small: %s", path, error)
