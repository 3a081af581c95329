"""The rollouts in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from serinus.core.events import Event
from serinus.core.rollout import ModelState, Order, Rollout


class Rollouts(Protocol):
    """Rollouts, what was asked of them, and their numbers. Implementations: backends/sql."""

    def create(self, rollout: Rollout, events: Sequence[Event] = ()) -> None:
        """Begins the rollout, which is pending no longer. Refused where another one of the same model is in flight, as
        the same transaction checks."""
        ...

    def save(self, rollout: Rollout, state: ModelState | None = None, events: Sequence[Event] = ()) -> None:
        """Rollout, the model's state and the events together."""
        ...

    def save_in_flight(self, flying: Sequence[Rollout]) -> None:
        """All of them in one transaction. NotFound, and nothing is saved, where one of them is not in flight."""
        ...

    def rollout(self, rollout_id: str) -> Rollout:
        """NotFound names near ones."""
        ...

    def in_flight(self, model: str | None = None) -> Sequence[Rollout]:
        """Rollouts that have not ended, oldest first; of one model there is at most one."""
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
        """Newest first. `version`: of the model, for those of one version. `release`: for those whose candidate it is.
        `promoted`: only those whose candidate was made the champion, or is being made it. `in_flight`: only those that
        have not ended. `after`: the id of the last one of the page before; NotFound where there is none of that id."""
        ...

    def last_rollouts(self, releases: Collection[str]) -> Mapping[str, Rollout]:
        """The newest rollout by release whose candidate it is; without releases that have none."""
        ...

    def next_number(self, model: str) -> int:
        """The number in the next rollout id of the model. It is never repeated."""
        ...

    def order(self, rollout_id: str, order: Order) -> None:
        """Refused where the rollout has ended. The same order twice is one."""
        ...

    def orders(self, rollout_id: str) -> Sequence[Order]:
        """Oldest first."""
        ...

    def orders_of(self, rollout_ids: Collection[str]) -> Mapping[str, Sequence[Order]]:
        """Of each that has some, oldest first, in one reading."""
        ...

    def supersede(self, rollout_id: str, order: Order, successor: Rollout) -> None:
        """Gives the rollout the order to end, and keeps `successor` as pending, in one transaction. Where the rollout
        has ended already, no order is needed. The same successor twice is one."""
        ...

    def pending(self) -> Sequence[Rollout]:
        """What is to begin when the rollout of its model that is in flight has ended; oldest first. `create` begins
        it."""
        ...
