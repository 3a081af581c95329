"""How often a model is asked now: whatever tells how long something will take goes by this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from serinus.core.ports import PredictionLog

WINDOWS = (0.0, 60.0, 300.0, 3600.0)
"""Seconds, each in whole minutes and the one that has begun."""
ENOUGH = 100
"""Requests from which on a rate is known within a fifth (two standard deviations)."""
LEAST_SECONDS = 15.0
"""Of a window: counts come up to a second late, and requests come in clumps."""


@dataclass(frozen=True, slots=True)
class Present:
    requests: Mapping[str, int]
    """Release -> requests within the time that was looked at."""
    seconds: float

    @property
    def per_second(self) -> float:
        """Requests to the model as a whole."""
        return sum(self.requests.values()) / self.seconds


def present(log: PredictionLog, model: str, most: float = math.inf, release: str = "") -> Present | None:
    """Of the shortest time in which the model, or `release` of it, had `ENOUGH` requests, or else of the longest one.

    What was before traffic began, or changed, says nothing of the rate now. `most`: seconds of the longest time; None
    where no window is as short.
    """
    found = None
    for window in WINDOWS:
        traffic = log.traffic(model, window)
        seconds = max((one.seconds for one in traffic.values()), default=max(window, LEAST_SECONDS))
        if not LEAST_SECONDS <= seconds <= most:
            continue
        found = Present({name: one.requests for name, one in traffic.items()}, seconds)
        if (found.requests.get(release, 0) if release else sum(found.requests.values())) >= ENOUGH:
            break
    return found
