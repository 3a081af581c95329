"""Which models there is something to do for, and when each model is looked at although nobody said so."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

RESYNC = timedelta(seconds=30)
"""Within which every model is visited once, whether or not anything was heard of it."""

CANARIES_JUDGED = timedelta(seconds=1)
"""Within which each canary is judged once. Its counts come in every quarter of a second, and burst windows are of ten
seconds."""


class News:
    """What one thread tells another: models that have changed. Safe to use from many threads.

    News only make the engine quicker. One that is lost is made up for by the next resync.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there = threading.Event()
        self._models: set[str] = set()

    def tell(self, model: str | None = None) -> None:
        """Wakes the engine. None: for a model that it visits anyway, because a rollout of it is in flight."""
        with self._lock:
            if model is not None:
                self._models.add(model)
            self._there.set()

    def take(self) -> frozenset[str]:
        """The models that were told of since the last call."""
        with self._lock:
            self._there.clear()
            taken, self._models = frozenset(self._models), set()
            return taken

    def wait(self, seconds: float) -> None:
        """Until something is told, at most so long."""
        self._there.wait(seconds)


class Pace:
    """How many of some models are due in a tick, so that each is visited once within `every`, evenly."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._counted_at: datetime | None = None
        self._owed = 0.0

    def due(self, models: int, now: datetime) -> int:
        if self._counted_at is not None:
            passed = max(timedelta(), now - self._counted_at)
            self._owed = min(float(models), self._owed + models * (passed / self._every))
        self._counted_at = now
        due = int(self._owed)
        self._owed -= due
        return due


def differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Keys whose values are not equal, or that only one of the two has."""
    if before == after:
        return set()
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
