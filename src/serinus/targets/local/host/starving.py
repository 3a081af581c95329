"""Detects that other processes use all processors of the machine, so that a model that is compared with another one
answers late however good it is.

This is measured by its effect on a thread that wants a processor now and then, as a worker does: the thread sleeps for
a moment and measures how late it wakes. Where the model's own workers use the processors, the delay is the model's own
doing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serinus.core.disturbance import Cause
from serinus.disturbances import Journal
from serinus.lib.processes import cpu_seconds
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.release_controller import ReleaseController

_NAP = 0.02
LATE = 0.006
"""The mean delay of the naps, in seconds, from which the machine counts as starved. A request needs a processor several
times. On a machine with 2 cores it takes about 16 busy processes to cause this delay."""
PRESSED = 0.5
"""The share of the time in which a process must have waited for a processor, according to the kernel. A host that is
late for other reasons is not a sign."""
OWN = 0.5
"""The share of the machine's processors from which on the model's workers themselves are what starves it."""
LOOK = 0.5
_QUIET = 4
"""The number of successive looks without a sign after which the starvation is over."""
_TOLD_AGAIN = 60.0
"""The seconds after which an ongoing starvation is recorded again, since a record is not believed for ever."""
_PRESSURE = Path("/proc/pressure/cpu")


@dataclass(frozen=True, slots=True)
class Sign:
    """A measurement between two looks."""

    late: float
    """The mean number of seconds by which naps ended too late."""
    pressed: float | None
    """The share of the time in which a process waited for a processor, or None if the kernel does not say."""

    @property
    def starved(self) -> bool:
        """Whether the naps show that the machine is starved and, where it says something, the kernel does as well."""
        return self.late >= LATE and (self.pressed is None or self.pressed >= PRESSED)


class Pulse:
    """Naps in a thread of its own, as long as it is wanted."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._naps, self._late = 0, 0.0
        self._pressure, self._at = _waited(), time.monotonic()
        threading.Thread(target=self._nap, name="pulse", daemon=True).start()

    def want(self, wanted: bool) -> None:
        """Starts or stops the naps."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def take(self) -> Sign:
        """Returns the measurement since the last call."""
        naps, late, self._naps, self._late = self._naps, self._late, 0, 0.0
        before, at = self._pressure, self._at
        self._pressure, self._at = _waited(), time.monotonic()
        known = before is not None and self._pressure is not None and self._at > at
        pressed = (self._pressure - before) / (self._at - at) if known else None  # type: ignore[operator]
        return Sign(late / naps if naps else 0.0, pressed)

    def _nap(self) -> None:
        while True:
            self._wanted.wait()
            due = time.monotonic() + _NAP
            time.sleep(_NAP)
            self._late += max(0.0, time.monotonic() - due)
            self._naps += 1


def _waited() -> float | None:
    """The seconds since the machine's start in which a process waited for a processor: `some` of the kernel's PSI."""
    with suppress(OSError, ValueError, IndexError):
        return int(_PRESSURE.read_text().splitlines()[0].rpartition("=")[2]) / 1e6
    return None


class Starving:
    """Observes the models of which several releases are up, since only these may be compared."""

    def __init__(self, journal: Journal, limits: Limits, controllers: Mapping[str, ReleaseController]) -> None:
        self._journal, self._cores, self._controllers = journal, limits.cores, controllers
        self._used: dict[int, float] = {}
        """The processor seconds of each worker, by pid."""
        self._told: dict[str, tuple[int, float, int]] = {}
        """Model -> its number in the journal, when it was recorded there, and the number of looks without a sign
        since."""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        pulse, before = Pulse(), time.time()
        while True:
            await asyncio.sleep(LOOK)
            compared = compared_models(list(self._controllers.values()))
            pulse.want(bool(compared))
            now = time.time()
            self.look(pulse.take(), compared, before, now)
            before = now

    def look(self, sign: Sign, compared: Mapping[str, Sequence[int]], before: float, now: float) -> None:
        """`compared` gives the pids of the workers of each model. `before` and `now` are the times of the last look and
        of this one, in unix seconds."""
        shares = self._shares(compared, now - before)
        for model in self._told.keys() | compared.keys():
            starved = sign.starved and model in shares and shares[model] < OWN * self._cores
            self._tell(model, starved, before, now)

    def _tell(self, model: str, starved: bool, before: float, now: float) -> None:
        if model not in self._told:
            if starved:
                self._told[model] = self._journal.begin(Cause.STARVED, model, before), now, 0
            return
        number, since, quiet = self._told[model]
        quiet = 0 if starved else quiet + 1
        if quiet >= _QUIET:
            self._journal.end(number)
            del self._told[model]
        elif now - since >= _TOLD_AGAIN:
            self._told[model] = self._journal.begin(Cause.STARVED, model, before), now, quiet
            self._journal.end(number)
        else:
            self._told[model] = number, since, quiet

    def _shares(self, compared: Mapping[str, Sequence[int]], seconds: float) -> Mapping[str, float]:
        """The processors that each model's workers used since the last look."""
        used = {pid: cpu_seconds(pid) or 0.0 for pids in compared.values() for pid in pids}
        share = {
            model: sum(max(0.0, used[pid] - self._used.get(pid, used[pid])) for pid in pids) / max(seconds, 1e-3)
            for model, pids in compared.items()
        }
        self._used = used
        return share


def compared_models(controllers: Sequence[ReleaseController]) -> Mapping[str, Sequence[int]]:
    """The pids of the workers of the models of which several releases are up."""
    pids: dict[str, list[int]] = defaultdict(list)
    releases: dict[str, int] = defaultdict(int)
    for controller in controllers:
        if workers := controller.ready_workers:
            releases[controller.release.model] += 1
            pids[controller.release.model] += [worker.record.pid for worker in workers]
    return {model: found for model, found in pids.items() if releases[model] > 1}
