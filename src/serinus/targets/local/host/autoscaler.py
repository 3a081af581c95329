"""The number of workers of a release. Pure."""

from __future__ import annotations

_BUSY, _LAZY = 0.8, 0.5
"""The use of a processor by each worker from which on another one is started, and by each remaining worker below which
one is stopped. They are far apart, so that the number does not oscillate."""
_UP_AFTER, _DOWN_AFTER = 2, 15
"""The number of measurements in a row that must agree."""


class Autoscaler:
    """Changes the number by at most one worker for each measurement."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._least = 0
        self._hot = 0
        self._cold = 0

    def bound(self, most: int, least: int = 0) -> None:
        """Sets the largest number of workers, and the smallest, which is not larger than that."""
        self._most, self._least = most, min(least, most)

    def step(self, workers: int, share: float, waiting: int) -> int:
        """Returns how many workers there should be.

        `share` is the number of processors that all workers together have used since the last measurement, and
        `waiting` the number of requests that are read and not answered.
        """
        if workers > self._most:
            return self._most
        if 0 < workers < self._least:
            return workers + 1
        hot = workers > 0 and (share / workers >= _BUSY or waiting > workers)
        cold = workers > max(self._least, 1) and share / (workers - 1) <= _LAZY and not waiting
        self._hot = self._hot + 1 if hot else 0
        self._cold = self._cold + 1 if cold else 0
        if self._hot >= _UP_AFTER and workers < self._most:
            self._hot = 0
            return workers + 1
        if self._cold >= _DOWN_AFTER:
            self._cold = 0
            return workers - 1
        return workers
