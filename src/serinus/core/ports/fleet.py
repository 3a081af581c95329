"""The fleet repository."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from serinus.core.merged import Merged


class Fleet(Protocol):
    """The Git repository with the specs of all models and a record of what is live. Implementations: backends/git."""

    def read(self, model: str) -> str | None:
        """Returns the model's ModelDeployment as YAML text. None: there is none."""
        ...

    def write(self, model: str, text: str, *, who: str, why: str) -> str:
        """Commits the model's ModelDeployment, if it has changed. Returns the id of the commit."""
        ...

    def publish(self, model: str, live: Mapping[str, Any], *, who: str, why: str) -> str:
        """Commits what is live of the model, if it has changed. Returns the id of the commit.

        `live` holds version, release, digests and threshold, or the time since which the model is `retired`.
        """
        ...

    def live(self, model: str) -> Mapping[str, Any] | None:
        """Returns what was last published for the model. None: nothing was."""
        ...

    def all_live(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns what was last published, by model, as it is in the repository now."""
        ...

    def changes(self, since: str | None) -> tuple[str, Collection[str] | None]:
        """Returns the present position of the repository, and the models whose published state has changed since
        `since`.

        The position is the `since` of the next call. None as the models: unknown. The method is polled, and is cheap
        where nothing has changed.
        """
        ...

    def merged(self, since: str | None) -> tuple[str, Sequence[Merged]]:
        """Returns the present position of the repository, and the files that other people have changed since `since`.

        An empty position is that of an empty repository. A file that Serinus has written after them is left out, and so
        is everything where `since` is None or is not there any more. The method is polled, and is cheap where nothing
        has changed.
        """
        ...
