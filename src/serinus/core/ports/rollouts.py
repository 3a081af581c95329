"""The rollouts in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serinus.core.rollout import ModelState, Order, Rollout
from serinus.core.values import Event


class Rollouts(Protocol):
    """Rollouts, what was asked of them, and their numbers. Implementations: backends/sql."""

    def create(self, rollout: Rollout, events: Sequence[Event] = ()) -> None:
        """Refused where one of the same model is in flight (checked in the same transaction)."""
        ...

    def save(self, rollout: Rollout, state: ModelState | None = None, events: Sequence[Event] = ()) -> None:
        """Rollout, the model's state and the events together."""
        ...

    def rollout(self, rollout_id: str) -> Rollout:
        """NotFound names near ones."""
        ...

    def in_flight(self) -> Sequence[Rollout]:
        """Every rollout that has not ended, oldest first."""
        ...

    def rollouts(self, model: str | None = None, limit: int = 50) -> Sequence[Rollout]:
        """Newest first."""
        ...

    def next_number(self, model: str) -> int:
        """For rollout ids; never the same twice."""
        ...

    def order(self, rollout_id: str, order: Order) -> None:
        """Refused where the rollout has ended. The same order twice is one."""
        ...

    def orders(self, rollout_id: str) -> Sequence[Order]:
        """Oldest first."""
        ...
