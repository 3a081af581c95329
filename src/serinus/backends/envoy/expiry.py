"""Clusters that no route names any more stay for a while, so that what is under way ends well."""

from __future__ import annotations

from collections.abc import Set


class Expiry:
    """`seconds`: how long a cluster outlives its last route. `now`, everywhere: by one monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at: dict[str, float] = {}

    def due(self, unused: Set[str], now: float) -> set[str]:
        """Those of the clusters without a route whose time is over. One that has a route again begins anew."""
        self._at = {name: self._at.get(name, now + self._seconds) for name in unused}
        return {name for name, at in self._at.items() if at <= now}

    def forget(self, removed: Set[str]) -> None:
        self._at = {name: at for name, at in self._at.items() if name not in removed}

    def next(self) -> float | None:
        """When the next one is due; None: nothing waits."""
        return min(self._at.values(), default=None)
