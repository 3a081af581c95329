"""Models and releases in the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from serinus.core.events import Event
from serinus.core.release import Release
from serinus.core.rollout import ModelState


class Models(Protocol):
    """What holds of each model when nothing is in flight, and its releases. Implementations: backends/sql."""

    def models(self, names: Collection[str] | None = None) -> Sequence[ModelState]:
        """The states of the models in `names` that exist, by name. None: of all models."""
        ...

    def models_after(self, model: str, limit: int) -> Sequence[ModelState]:
        """The next `limit` after `model`, in an order of the store's own, which leads from the empty name through all
        models. Fewer: there are no more."""
        ...

    def model(self, model: str) -> ModelState:
        """An empty state where there is none yet."""
        ...

    def save_model(self, state: ModelState, events: Sequence[Event] = ()) -> None:
        """The state and the events together."""
        ...

    def add_release(self, release: Release) -> None:
        """Nothing happens where it is there."""
        ...

    def releases(
        self, model: str | None = None, limit: int | None = None, *, after: str | None = None
    ) -> Sequence[Release]:
        """Newest first. `limit`: at most so many; None: all. `after`: the id of the last one of the page before;
        NotFound where there is none of that id."""
        ...
