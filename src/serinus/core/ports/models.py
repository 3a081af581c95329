"""Models and releases in the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from serinus.core.events import Event
from serinus.core.release import Release
from serinus.core.rollout import ModelState


class Models(Protocol):
    """The state of each model between rollouts, and its releases. Implementations: backends/sql."""

    def models(self, names: Collection[str] | None = None) -> Sequence[ModelState]:
        """Returns the states of the models in `names` that exist, sorted by name. None: of all models."""
        ...

    def models_after(self, model: str, limit: int) -> Sequence[ModelState]:
        """Returns the next `limit` states after `model`, in an order of the store's own.

        Starting with the empty name, it leads through all models. Fewer states than `limit`: there are no more.
        """
        ...

    def model(self, model: str) -> ModelState:
        """Returns the state of the model, which is empty for a model that does not exist yet."""
        ...

    def save_model(self, state: ModelState, events: Sequence[Event] = ()) -> None:
        """Stores the state and the events in one transaction."""
        ...

    def add_release(self, release: Release) -> None:
        """Stores a release. A release that is stored already is left alone."""
        ...

    def releases(
        self, model: str | None = None, limit: int | None = None, *, after: str | None = None
    ) -> Sequence[Release]:
        """Returns releases, newest first, at most `limit`. None: all.

        `after` is the id of the last release of the previous page. Raises NotFound where it does not exist.
        """
        ...
