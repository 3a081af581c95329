"""Keeps clusters that no route names any more for a while, so that requests in flight are finished."""

from __future__ import annotations

from collections.abc import Set


class Expiry:
    """`seconds` is how long a cluster outlives its last route. `now` is always a time of one monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at: dict[str, float] = {}

    def due(self, unused: Set[str], now: float) -> set[str]:
        """The clusters without a route whose time is over. For a cluster that has a route again, the time starts again
        later."""
        self._at = {name: self._at.get(name, now + self._seconds) for name in unused}
        return {name for name, at in self._at.items() if at <= now}

    def forget(self, removed: Set[str]) -> None:
        """Forgets clusters that were removed."""
        self._at = {name: at for name, at in self._at.items() if name not in removed}

    def next(self) -> float | None:
        """When the next one is due, or None if no cluster waits."""
        return min(self._at.values(), default=None)
