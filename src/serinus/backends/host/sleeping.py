"""Which releases go to sleep. Pure: times are seconds of one monotonic clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serinus.backends.host.limits import Limits

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
class Awake:
    """A release that is up. `warm_until`: when it may sleep at the earliest."""

    release: str
    last: float
    popularity: float
    warm_until: float
    keep_warm: bool
    busy: bool
    """It has requests that are not answered."""
    memory_bytes: int


def to_sleep(awake: Sequence[Awake], now: float, used_bytes: int, limits: Limits) -> Sequence[str]:
    """Those that nobody asks for, but the busiest; and while `used_bytes` are beyond the limit also others, the least
    recently used first. Never one that is busy or to be kept warm."""
    ranked = sorted(awake, key=lambda one: one.popularity, reverse=True)
    busiest = {one.release for one in ranked[: limits.busiest] if one.popularity > 0}
    free = [one for one in sorted(awake, key=lambda one: one.last) if not (one.busy or one.keep_warm)]
    chosen = []
    for one in free:
        unused = one.release not in busiest and now - one.last >= limits.idle and now >= one.warm_until
        if unused or used_bytes > limits.memory_bytes:
            chosen.append(one.release)
            used_bytes -= one.memory_bytes
    return chosen
