"""The present rate of requests to a model, which all estimates of durations use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from serinus.core.ports import PredictionLog

WINDOWS = (0.0, 60.0, 300.0, 3600.0)
"""The lengths of the windows in seconds: whole minutes, and the minute that has begun."""
ENOUGH = 100
"""The number of requests from which on a rate is known within a fifth (two standard deviations)."""
LEAST_SECONDS = 15.0
"""The shortest window. Counts arrive up to a second late, and requests come in clumps."""


@dataclass(frozen=True, slots=True)
class Present:
    """The requests to a model in the last seconds."""

    requests: Mapping[str, int]
    """Requests by release."""
    seconds: float

    @property
    def per_second(self) -> float:
        """Requests per second to the model as a whole."""
        return sum(self.requests.values()) / self.seconds


def present(log: PredictionLog, model: str, most: float = math.inf, release: str = "") -> Present | None:
    """Returns the requests in the shortest window in which the model, or `release`, had `ENOUGH` of them, or else in
    the longest window.

    Earlier requests would say nothing about a rate that has changed. `most` is the length of the longest window in
    seconds. None: no window is that short.
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
