"""Which releases are scaled to zero, and which are activated by the clock. Pure: times are seconds of one monotonic
clock, but for the hours of the week, which are those of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from serinus.core.release import WarmHours
from serinus.targets.local.host.limits import Limits

_HALF_LIFE = 900.0
"""Seconds in which a request loses half of its weight for popularity."""


@dataclass(slots=True)
class Demand:
    """How much a release is asked for."""

    last: float
    """When it was last known to be."""
    popularity: float = 0.0
    """Requests, each halved every `_HALF_LIFE`, as of `last`."""

    def note(self, requests: int, waiting: int, now: float) -> None:
        """So many have been answered since the last call, and so many wait."""
        if requests > 0 or waiting > 0:
            self.popularity = self.popularity_at(now) + requests
            self.last = now

    def popularity_at(self, now: float) -> float:
        return float(self.popularity * 0.5 ** ((now - self.last) / _HALF_LIFE))


@dataclass(frozen=True, slots=True)
class Active:
    """A release that has workers. `warm_until`: when it may be scaled to zero at the earliest."""

    release: str
    last: float
    popularity: float
    warm_until: float
    keep_warm: bool
    """Always, or at this hour."""
    busy: bool
    """It has requests that are not answered."""
    memory_bytes: int
    """Which are free when it is scaled to zero."""
    in_time: bool = True
    """Its next activation, as it is expected to be, leaves half of its time limit to answer."""


def to_scale_to_zero(active: Sequence[Active], now: float, used_bytes: int, limits: Limits) -> Sequence[str]:
    """Those that nobody asks for, but the busiest and those whose activation would be late; and while `used_bytes` are
    beyond the limit also these, the least recently used first. Never one that is busy or to be kept warm."""
    ranked = sorted(active, key=lambda one: one.popularity, reverse=True)
    busiest = {one.release for one in ranked[: limits.busiest] if one.popularity > 0}
    free = [one for one in sorted(active, key=lambda one: one.last) if not (one.busy or one.keep_warm)]
    chosen = []
    for one in free:
        rested = now - one.last >= limits.idle and now >= one.warm_until
        unused = rested and one.in_time and one.release not in busiest
        if unused or used_bytes > limits.memory_bytes:
            chosen.append(one.release)
            used_bytes -= one.memory_bytes
    return chosen


TO_SCALE_TO_ZERO, TO_STAY_AT_ZERO = 0.5, 0.8
"""Of the time limit, that an activation may take for a release to be scaled to zero, and to stay so. The gap keeps it
from doing both in turn."""


class ActivationTimes:
    """How long a release's activations take: as measured when they were, times how much busier the machine is now.
    Times are seconds of one monotonic clock."""

    _REMEMBERED = 5
    _LATELY = 900.0

    def __init__(self) -> None:
        self._unhurried: list[tuple[float, float]] = []
        """When it was, and what it would have taken with the machine for itself."""
        self._forked = False

    def note(self, seconds: float, crowd: float, now: float, *, forked: bool) -> None:
        """A start has taken so long, on a machine with `crowd` as below. One that was not forked says what an
        activation takes only as long as none was."""
        if forked and not self._forked:
            self._unhurried.clear()
            self._forked = True
        if forked == self._forked:
            self._unhurried = [*self._unhurried, (now, seconds / max(1.0, crowd))][-self._REMEMBERED :]

    def recall(self, seconds: float, now: float) -> None:
        """What `unhurried` was before this process was there; 0: nothing."""
        if seconds and not self._unhurried:
            self._unhurried.append((now, seconds))

    def unhurried(self, now: float) -> float:
        """With the machine for itself: as the slowest of late, or the quickest of before, so that one slow start does
        not keep the release from being scaled to zero for ever. 0 where none was measured."""
        lately = [seconds for at, seconds in self._unhurried if now - at < self._LATELY]
        return max(lately) if lately else min((seconds for _, seconds in self._unhurried), default=0.0)

    def expected(self, crowd: float, now: float) -> float:
        """`crowd`: processes that want to run, for each processor."""
        return self.unhurried(now) * max(1.0, crowd)


class Crowd:
    """How many processes want each processor, over the last few looks."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self.now = 0.0

    def look(self, running: int) -> None:
        self.now = (self.now + running / self._cores) / 2


_ACTIVATED_AT_ONCE = 2
"""Times the cores. Half of those that callers may activate, who so do not queue behind those that nobody asks."""
LEAD = timedelta(minutes=1)
"""By which a release is up before its hours begin: many may begin at once, and some take long to load."""


def to_activate(due: Mapping[str, float], limits: Limits) -> Sequence[str]:
    """Those of `due` (release -> popularity) that come first, the most asked for before the others."""
    return sorted(due, key=lambda name: -due[name])[: limits.cores * _ACTIVATED_AT_ONCE]


def to_be_warm(hours: Sequence[WarmHours], at: datetime) -> bool:
    """Whether `at` lies in one of them, or so shortly before that it is time to get up. `at` is aware.

    Where clocks are put back or forward at the very time at which they begin or end, the longer reading holds.
    """
    return any(begins - LEAD <= at < ends for one in hours for begins, ends in _near(one, at))


def _near(hours: WarmHours, at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """When they begin and end, of the days about `at`."""
    zone = ZoneInfo(hours.timezone)
    today = at.astimezone(zone).date()
    for day in (today + timedelta(days=n) for n in (-1, 0, 1)):
        if day.weekday() in hours.days:
            yield min(_instants(day, hours.begins, zone)), max(_instants(day, hours.ends, zone))


def _instants(day: date, minutes: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Of a wall clock's reading: two where it comes twice, or is skipped, and else twice the same."""
    wall = datetime.combine(day, time.min) + timedelta(minutes=minutes)
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second
