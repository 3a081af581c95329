"""Which models have changed, and how often each model is visited without news."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

RESYNC = timedelta(seconds=30)
"""The period in which every model is visited once, with or without news."""

CANARIES_JUDGED = timedelta(seconds=1)
"""The period in which each canary is judged once. Its counts arrive every quarter of a second, and the windows of the
judge are ten seconds long."""


class News:
    """Models that have changed. Threads tell each other of them. Thread-safe.

    News only make the engine faster. The next resync makes up for any that are lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there = threading.Event()
        self._models: set[str] = set()

    def tell(self, model: str | None = None) -> None:
        """Wakes the engine. None as the model: one that is visited anyway, because a rollout of it is in flight."""
        with self._lock:
            if model is not None:
                self._models.add(model)
            self._there.set()

    def take(self) -> frozenset[str]:
        """Returns the models of which there was news since the last call."""
        with self._lock:
            self._there.clear()
            taken, self._models = frozenset(self._models), set()
            return taken

    def wait(self, seconds: float) -> None:
        """Waits for news, at most so many seconds."""
        self._there.wait(seconds)


class Pace:
    """The number of models that are due in a tick, so that each is visited once within `every`, evenly."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._counted_at: datetime | None = None
        self._owed = 0.0

    def due(self, models: int, now: datetime) -> int:
        """Returns how many of `models` are due."""
        if self._counted_at is not None:
            passed = max(timedelta(), now - self._counted_at)
            self._owed = min(float(models), self._owed + models * (passed / self._every))
        self._counted_at = now
        due = int(self._owed)
        self._owed -= due
        return due


def differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Returns the keys whose values differ, or that only one of the two has."""
    if before == after:
        return set()
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
