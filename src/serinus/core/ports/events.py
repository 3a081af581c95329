"""The events in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serinus.core.events import Event


class Events(Protocol):
    """What happened, in the order in which it was stored. Implementations: backends/sql."""

    def events(
        self, after: int = 0, model: str | None = None, limit: int = 200, *, rollout: str | None = None
    ) -> Sequence[Event]:
        """Events with a number above `after`, oldest first; with `after` 0 the last `limit`. `model`, `rollout`: of one
        only."""
        ...

    def events_after(self, number: int, limit: int) -> Sequence[Event]:
        """The first `limit` with a greater number, oldest first; also from 0 on. None of them can turn up later."""
        ...

    def emit(self, events: Sequence[Event]) -> None: ...
