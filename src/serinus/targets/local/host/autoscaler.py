"""How many workers a release has. Pure."""

from __future__ import annotations

_BUSY, _LAZY = 0.8, 0.5
"""Share of a processor: of each worker before there is one more, and of each of those that would be left before there
is one less. Far apart, so that the answer does not swing."""
_UP_AFTER, _DOWN_AFTER = 2, 15
"""Looks in a row that must say so."""


class Autoscaler:
    """One step a look, one worker a step."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._hot = 0
        self._cold = 0

    def bound(self, most: int) -> None:
        """No more than so many from now on."""
        self._most = most

    def step(self, workers: int, share: float, waiting: int) -> int:
        """How many there should be. `share`: processors that all together used since the last look; `waiting`:
        requests that are read and not answered."""
        if workers > self._most:
            return self._most
        hot = workers > 0 and (share / workers >= _BUSY or waiting > workers)
        cold = workers > 1 and share / (workers - 1) <= _LAZY and not waiting
        self._hot = self._hot + 1 if hot else 0
        self._cold = self._cold + 1 if cold else 0
        if self._hot >= _UP_AFTER and workers < self._most:
            self._hot = 0
            return workers + 1
        if self._cold >= _DOWN_AFTER:
            self._cold = 0
            return workers - 1
        return workers
