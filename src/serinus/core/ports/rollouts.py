"""The rollouts in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from serinus.core.events import Event
from serinus.core.rollout import ModelState, Order, Rollout


class Rollouts(Protocol):
    """Rollouts, the orders of people to them, and their numbers. Implementations: backends/sql."""

    def create(self, rollout: Rollout, events: Sequence[Event] = ()) -> None:
        """Stores a rollout that begins now. It is no longer pending.

        Raises Refused where another rollout of the same model is in flight. The same transaction checks that.
        """
        ...

    def save(self, rollout: Rollout, state: ModelState | None = None, events: Sequence[Event] = ()) -> None:
        """Stores the rollout, the model's state and the events in one transaction."""
        ...

    def save_in_flight(self, flying: Sequence[Rollout]) -> None:
        """Stores all of them in one transaction. Raises NotFound, and stores none, where one of them is not in
        flight."""
        ...

    def rollout(self, rollout_id: str) -> Rollout:
        """Returns the rollout. Raises NotFound, which names rollouts with similar ids."""
        ...

    def in_flight(self, model: str | None = None) -> Sequence[Rollout]:
        """Returns the rollouts that have not ended, oldest first. A model has at most one."""
        ...

    def rollouts(
        self,
        model: str | None = None,
        limit: int = 50,
        *,
        version: str | None = None,
        release: str | None = None,
        promoted: bool = False,
        in_flight: bool = False,
        after: str | None = None,
    ) -> Sequence[Rollout]:
        """Returns rollouts, newest first.

        - `version`: only those of this version of `model`.
        - `release`: only those whose candidate it is.
        - `promoted`: only those whose candidate was or is being made the champion.
        - `in_flight`: only those that have not ended.
        - `after`: the id of the last rollout of the previous page. Raises NotFound where it does not exist.
        """
        ...

    def last_rollouts(self, releases: Collection[str]) -> Mapping[str, Rollout]:
        """Returns the newest rollout of each release that has been a candidate."""
        ...

    def next_number(self, model: str) -> int:
        """Returns the number for the next rollout id of the model. A number is never returned twice."""
        ...

    def order(self, rollout_id: str, order: Order) -> None:
        """Stores an order to the rollout. The same order twice is stored once. Raises Refused where the rollout has
        ended."""
        ...

    def orders(self, rollout_id: str) -> Sequence[Order]:
        """Returns the orders to the rollout, oldest first."""
        ...

    def orders_of(self, rollout_ids: Collection[str]) -> Mapping[str, Sequence[Order]]:
        """Returns the orders to each rollout that has some, oldest first, in one reading."""
        ...

    def supersede(self, rollout_id: str, order: Order, successor: Rollout) -> None:
        """Orders the rollout to end, and stores `successor` as pending, in one transaction.

        No order is stored where the rollout has ended already. A repeated call with the same successor changes nothing.
        """
        ...

    def pending(self) -> Sequence[Rollout]:
        """Returns the rollouts that begin when the one in flight has ended, oldest first. `create` begins them."""
        ...
