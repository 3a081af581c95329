"""Decides which releases are scaled to zero, and which are activated by the clock. It is pure. Times are seconds of one
monotonic clock, except for the warm hours, which are those of a wall clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from serinus.core.release import WarmHours
from serinus.targets.local.host.limits import Limits

_HALF_LIFE = 900.0
"""The seconds in which a request loses half of its weight in the popularity."""


@dataclass(slots=True)
class Demand:
    """The demand for one release."""

    last: float
    """The time at which the release was last known to be asked for."""
    popularity: float = 0.0
    """The number of requests, each halved every `_HALF_LIFE`, as of `last`."""

    def note(self, requests: int, waiting: int, now: float) -> None:
        """Takes note of the requests that were answered since the last call and of those that wait."""
        if requests > 0 or waiting > 0:
            self.popularity = self.popularity_at(now) + requests
            self.last = now

    def popularity_at(self, now: float) -> float:
        """Returns the popularity at the time `now`."""
        return float(self.popularity * 0.5 ** ((now - self.last) / _HALF_LIFE))


@dataclass(frozen=True, slots=True)
class Active:
    """A release that has workers. `warm_until` is the earliest time at which it may be scaled to zero."""

    release: str
    last: float
    popularity: float
    warm_until: float
    keep_warm: bool
    """Whether it is kept warm, always or at this hour."""
    busy: bool
    """Whether it has requests that are not answered yet."""
    memory_bytes: int
    """The memory that becomes free when it is scaled to zero."""
    in_time: bool = True
    """Whether its next activation is expected to leave half of its time limit for the answer."""


def to_scale_to_zero(active: Sequence[Active], now: float, used_bytes: int, limits: Limits) -> Sequence[str]:
    """The releases that nobody asks for, except the most popular ones and those whose activation would be late. While
    `used_bytes` exceeds the limit, also those, the least recently used first. A release that is busy or to be kept warm
    is never among them."""
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
"""The shares of the time limit that an activation may take for a release to be scaled to zero, and to remain so. The
gap prevents a release from alternating between the two."""


class ActivationTimes:
    """The times that a release's activations take: the measured time, multiplied by how much busier the machine is now
    than it was at the measurement. Times are seconds of one monotonic clock."""

    _REMEMBERED = 5
    _LATELY = 900.0

    def __init__(self) -> None:
        self._unhurried: list[tuple[float, float]] = []
        """The times of activations, and how long each would have taken on an otherwise idle machine."""
        self._forked = False

    def note(self, seconds: float, crowd: float, now: float, *, forked: bool) -> None:
        """Takes note of a start that took `seconds`, on a machine with `crowd` as in `expected`. A start that was not
        forked counts only as long as no forked one was measured."""
        if forked and not self._forked:
            self._unhurried.clear()
            self._forked = True
        if forked == self._forked:
            self._unhurried = [*self._unhurried, (now, seconds / max(1.0, crowd))][-self._REMEMBERED :]

    def recall(self, seconds: float, now: float) -> None:
        """Takes over the value that `unhurried` had before this process was started; 0 stands for none."""
        if seconds and not self._unhurried:
            self._unhurried.append((now, seconds))

    def unhurried(self, now: float) -> float:
        """The time on an otherwise idle machine: the slowest of the recent activations or the quickest of the earlier
        ones, so that one slow start does not prevent the release from being scaled to zero for ever. It is 0 where none
        was measured."""
        lately = [seconds for at, seconds in self._unhurried if now - at < self._LATELY]
        return max(lately) if lately else min((seconds for _, seconds in self._unhurried), default=0.0)

    def expected(self, crowd: float, now: float) -> float:
        """The expected time. `crowd` is the number of processes that want to run, for each processor."""
        return self.unhurried(now) * max(1.0, crowd)


class Crowd:
    """The number of processes that want each processor, over the last few looks."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self.now = 0.0

    def look(self, running: int) -> None:
        """Takes note of how many processes run or want to run now."""
        self.now = (self.now + running / self._cores) / 2


_ACTIVATED_AT_ONCE = 2
"""A multiple of the number of cores. It is half of what callers may activate at once, so that they do not queue behind
releases that nobody asks for."""
LEAD = timedelta(minutes=1)
"""The time by which a release is activated before its warm hours begin. Many may begin at once, and some releases take
long to load."""


def to_activate(due: Mapping[str, float], limits: Limits) -> Sequence[str]:
    """Returns those of `due` (popularity by release) that are activated first. The more popular ones precede the
    others."""
    return sorted(due, key=lambda name: -due[name])[: limits.cores * _ACTIVATED_AT_ONCE]


def to_be_warm(hours: Sequence[WarmHours], at: datetime) -> bool:
    """Whether `at` lies in one of the warm hours, or so shortly before it that the release has to be activated. `at` is
    aware of its time zone.

    Where clocks are put back or forward at the very time at which the hours begin or end, the longer reading holds.
    """
    return any(begins - LEAD <= at < ends for one in hours for begins, ends in _near(one, at))


def _near(hours: WarmHours, at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """When the hours of the days around `at` begin and end."""
    zone = ZoneInfo(hours.timezone)
    today = at.astimezone(zone).date()
    for day in (today + timedelta(days=n) for n in (-1, 0, 1)):
        if day.weekday() in hours.days:
            yield min(_instants(day, hours.begins, zone)), max(_instants(day, hours.ends, zone))


def _instants(day: date, minutes: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants of a reading of the wall clock: two where the reading occurs twice or is skipped, and otherwise
    twice the same one."""
    wall = datetime.combine(day, time.min) + timedelta(minutes=minutes)
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second
