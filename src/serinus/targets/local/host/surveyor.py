"""Observes, again and again, what all releases are asked and what they use, and decides from it which releases are
scaled to zero, which get more workers, and which workers are too large. It also decides by the clock which releases are
activated before anybody asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

from pydantic import TypeAdapter
from serinus_runtime.process.process_memory import Memory, known, resident

from serinus.lib import files
from serinus.lib.processes import cpu_seconds
from serinus.targets.local.host.autoscaler import Autoscaler
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.processes import end_orphans
from serinus.targets.local.host.release_controller import ReleaseController
from serinus.targets.local.host.scale_to_zero import (
    TO_SCALE_TO_ZERO,
    TO_STAY_AT_ZERO,
    Active,
    Crowd,
    Demand,
    to_activate,
    to_be_warm,
    to_scale_to_zero,
)
from serinus.targets.local.host.worker import Launcher, Worker

log = logging.getLogger(__name__)

_Kept = tuple[float, bool, float] | tuple[float, bool]
"""The popularity of a release, whether it was scaled to zero, and the seconds that an activation takes. An earlier
version did not keep the last of these."""
_KNOWN: TypeAdapter[Mapping[str, _Kept]] = TypeAdapter(Mapping[str, _Kept])

_WEIGHED_AT_ONCE = 2
"""The number of workers whose memory is measured at one look. Of the others only their growth is known."""
_ROOM = 0.8
"""The share of the memory limit up to which a release is activated that nobody has asked for."""
_KEPT_EVERY = 15
"""The number of looks between two writes of what was learnt about demand."""


@dataclass(slots=True)
class _Seen:
    demand: Demand
    scaler: Autoscaler
    share: float = 0.0
    """The processors that its workers used since the last look."""
    waiting: int = 0


class Surveyor:
    """Observes the controllers of one host, which come and go. It runs in their event loop."""

    def __init__(self, launcher: Launcher, limits: Limits, controllers: Mapping[str, ReleaseController]) -> None:
        self._launcher = launcher
        self._limits = limits
        self._controllers = controllers
        self._seen: dict[str, _Seen] = {}
        self._file = launcher.home.host / "rest" / "demand.json"
        self._before = _loaded(self._file)
        self._last_look = 0.0
        self._zygotes_bytes: Mapping[int, int] = {}
        self._crowd = Crowd(limits.cores)

    def was_scaled_to_zero(self, release_id: str) -> bool:
        """Whether the release was scaled to zero when an earlier host last looked."""
        return bool(self._before.get(release_id, (0.0, False))[1])

    def popularity(self, release_id: str) -> float:
        """Returns the popularity of a release, which may be that of an earlier host's last look."""
        seen = self._seen.get(release_id)
        return self._before.get(release_id, (0.0, False))[0] if seen is None else seen.demand.popularity

    async def run(self) -> None:
        """Runs until it is cancelled."""
        looks = 0
        while True:
            await asyncio.sleep(self._limits.survey)
            looks += 1
            try:
                await self.look()
                if looks % _KEPT_EVERY == 0:
                    self.keep()
            except Exception:  # Serving continues without a survey, and the next one may succeed.
                log.exception("a look at the workers failed")

    async def look(self) -> None:
        """Observes all releases once, and acts on it."""
        loop = asyncio.get_running_loop()
        end_orphans()
        now = loop.time()
        self._crowd.look(running())
        self._listen(now)
        await self._weigh(now)
        self._scale()
        self._scale_to_zero(loop.time())
        self._renew(loop.time())
        self._activate()
        used = {self._launcher.interpreter(controller.release) for controller in self._controllers.values()}
        self._launcher.zygotes.keep_only(used)

    def keep(self) -> None:
        """Writes what the next host is to know. If the disk is full, nothing else is lost."""
        now = asyncio.get_running_loop().time()
        known: Mapping[str, _Kept] = {
            name: (self.popularity(name), controller.scaled_to_zero, controller.starts.activation_times.unhurried(now))
            for name, controller in self._controllers.items()
        }
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(self._file, _KNOWN.dump_json(known), durable=False)
        except OSError as error:
            log.warning("what the releases are asked could not be kept: %s", error)

    # ------------------------------------------------------------------------------------------------------

    def _listen(self, now: float) -> None:
        """Takes note of what the workers have reported, and of what the kernel says about them."""
        for gone in self._seen.keys() - self._controllers.keys():
            del self._seen[gone]
        elapsed, self._last_look = now - self._last_look, now
        for name, controller in self._controllers.items():
            if name not in self._seen:
                if name in self._before:
                    controller.starts.activation_times.recall(sum(self._before[name][2:]), now)
                self._seen[name] = _Seen(Demand(now, self.popularity(name)), Autoscaler(self._limits.cores))
            controller.starts.crowd = lambda: self._crowd.now
            seen = self._seen[name]
            seen.scaler.bound(controller.most, controller.least)
            said = [_news(worker) for worker in controller.ready_workers]
            seen.waiting = sum(waiting for _, waiting, _ in said)
            seen.share = sum(used for _, _, used in said) / elapsed
            seen.demand.note(sum(requests for requests, _, _ in said), seen.waiting, now)

    async def _weigh(self, now: float) -> None:
        workers = [(one, worker) for one in self._controllers.values() for worker in one.ready_workers]
        workers.sort(key=lambda one: one[1].weighed)
        limited = [(worker, controller.memory_limit(worker)) for controller, worker in workers]
        zygotes = list(self._launcher.zygotes.pids().values())
        sizes, self._zygotes_bytes = await asyncio.to_thread(_measured, limited, now, zygotes)
        for (controller, worker), size in zip(workers, sizes, strict=True):
            controller.weigh(worker, size)

    def _scale(self) -> None:
        """Starts no further workers where memory is short."""
        short = self._used_bytes() > self._limits.memory_bytes
        for name, controller in self._controllers.items():
            workers = len(controller.ready_workers)
            if workers and (seen := self._seen.get(name)) is not None:
                wanted = seen.scaler.step(workers, seen.share, seen.waiting)
                if wanted < workers or (wanted > workers and not short):
                    log.info("%s: %d workers for %.2f processors' work", name, wanted, seen.share)
                    controller.ask_for(wanted)

    def _scale_to_zero(self, now: float) -> None:
        active = [
            self._active(controller, now) for controller in self._controllers.values() if controller.ready_workers
        ]
        for name in to_scale_to_zero(active, now, self._used_bytes(), self._limits):
            log.info("%s is scaled to zero", name)
            self._controllers[name].scale_to_zero()

    def _renew(self, now: float) -> None:
        """Replaces the workers of a release whose scale has changed, one at a time, however much the release is asked.
        It also replaces workers that were started before the zygote of their environment was there: one at each look,
        when no caller waits for the release."""
        for name, controller in self._controllers.items():
            if controller.renew():
                log.info("%s gets a worker with its new scale", name)
        for name, controller in self._controllers.items():
            seen = self._seen.get(name)
            quiet = seen is not None and not seen.waiting
            if quiet and now - controller.ready_since >= self._limits.settled and controller.renewable:
                log.info("%s gets a worker that shares its libraries", name)
                controller.replace()
                return

    def _activate(self) -> None:
        """Activates the releases whose warm hours begin and, where there is room, those whose activation would be late
        on a machine that is as busy as this one is now."""
        at_zero = {name: controller for name, controller in self._controllers.items() if controller.scaled_to_zero}
        hours = {name for name, controller in at_zero.items() if _at_its_hour(controller)}
        room = self._used_bytes() < _ROOM * self._limits.memory_bytes
        late = {name for name, controller in at_zero.items() if room and not self._in_time(controller, TO_STAY_AT_ZERO)}
        for name in to_activate({name: self.popularity(name) for name in hours | late}, self._limits):
            why = "for its hours" if name in hours else "while an activation would take too long"
            log.info("%s is activated %s", name, why)
            self._controllers[name].activate(to_stay=name in hours)

    def _in_time(self, controller: ReleaseController, share: float) -> bool:
        """Whether its next activation takes at most `share` of its time limit."""
        most = share * controller.release.settings.timeout_ms / 1000
        return controller.starts.activation_times.expected(self._crowd.now, asyncio.get_running_loop().time()) <= most

    def _active(self, controller: ReleaseController, now: float) -> Active:
        name = controller.release.id
        seen = self._seen.get(name)
        return Active(
            release=name,
            last=max(controller.ready_since, seen.demand.last if seen else now),
            popularity=seen.demand.popularity_at(now) if seen else 0.0,
            warm_until=controller.warm_until,
            keep_warm=controller.scale.keep_warm or _at_its_hour(controller),
            busy=bool(seen and seen.waiting),
            memory_bytes=controller.own_bytes,
            in_time=self._in_time(controller, TO_SCALE_TO_ZERO),
        )

    def _used_bytes(self) -> int:
        """The memory of all workers and of the zygotes. What the workers share with their zygote is counted with the
        zygote."""
        return sum(self._zygotes_bytes.values()) + sum(one.own_bytes for one in self._controllers.values())


def running() -> int:
    """The number of processes of this machine that run or want to run, without this one."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return 0


def _at_its_hour(controller: ReleaseController) -> bool:
    hours = controller.scale.warm_hours
    try:
        return bool(hours) and to_be_warm(hours, datetime.now(UTC))
    except ZoneInfoNotFoundError as error:
        # The machine had the time zone at the deployment. A release that is up needlessly is better than a late one.
        log.warning("%s is kept up: %s", controller.release.id, error)
        return True


def _news(worker: Worker) -> tuple[int, int, float]:
    """The requests answered and the processor seconds used since the last call, and the requests that wait."""
    used = max(0.0, (cpu_seconds(worker.record.pid) or 0.0) - worker.cpu_seconds)
    worker.cpu_seconds += used
    if (stats := worker.stats()) is None:
        return 0, worker.waiting, used
    requests = max(0, stats.requests - worker.requests)
    worker.requests, worker.waiting = stats.requests, stats.waiting
    return requests, stats.waiting, used


def _measured(
    workers: Sequence[tuple[Worker, int | None]], now: float, zygotes: Sequence[int]
) -> tuple[Sequence[Memory | None], Mapping[int, int]]:
    """The sizes of all `workers`, which are given with their limits, and of the zygotes."""
    sizes = [
        size_of(worker, most, now, thorough=place < _WEIGHED_AT_ONCE) for place, (worker, most) in enumerate(workers)
    ]
    return sizes, {pid: size for pid in zygotes if (size := resident(pid)) is not None}


def size_of(worker: Worker, most: int | None, now: float, *, thorough: bool) -> Memory | None:
    """The size of the worker, or None if it is gone. A size above `most` must not be an estimate."""
    pid = worker.record.pid
    there = resident(pid)
    if thorough or (most is not None and there is not None and there > most):
        worker.weighed = now
        worker.known = known(pid) or worker.known
    if there is None:
        return None
    return worker.known.at(there) if worker.known else Memory(there, there)


def _loaded(file: Path) -> Mapping[str, _Kept]:
    """Returns what was kept, by release. It is empty where the file cannot be read, and is then learnt again."""
    with suppress(OSError, ValueError):
        return _KNOWN.validate_json(file.read_bytes())
    return {}
