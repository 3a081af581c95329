"""The events in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serinus.core.events import Event


class Events(Protocol):
    """The events, in the order in which they were stored. Implementations: backends/sql."""

    def events(
        self, after: int = 0, model: str | None = None, limit: int = 200, *, rollout: str | None = None
    ) -> Sequence[Event]:
        """Returns events with a number above `after`, oldest first. With `after` 0 it returns the last `limit` events.

        With `model` or `rollout`, only the events of that one are returned.
        """
        ...

    def events_after(self, number: int, limit: int, *, model: str | None = None) -> Sequence[Event]:
        """Returns the first `limit` events with a number above `number`, oldest first, also from 0 on.

        With `model`, only the events of that one are returned. An event with a lower number cannot appear later.
        """
        ...

    def emit(self, events: Sequence[Event]) -> None:
        """Stores events."""
