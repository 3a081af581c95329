"""The Git repository that says what should run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol


class Fleet(Protocol):
    """The Git repository that says what should run. Implementations: backends/git."""

    def read(self, model: str) -> str | None:
        """The model's ModelDeployment as YAML text, or None."""
        ...

    def write(self, model: str, text: str, *, who: str, why: str) -> str:
        """Commits, if that changes anything; the commit's id."""
        ...

    def publish(self, model: str, live: Mapping[str, Any], *, who: str, why: str) -> str:
        """Commits what is live of the model (version, release, digests, threshold), or that it is `retired` and since
        when, if that changes anything; the commit's id."""
        ...

    def live(self, model: str) -> Mapping[str, Any] | None:
        """What was last published, or None."""
        ...

    def changes(self, since: str | None) -> tuple[str, Collection[str] | None]:
        """Where the repository stands, to be given the next time, and the models of which something else is published
        than at `since`, whoever has changed it; None: not known. Cheap where nothing has changed: it is polled."""
        ...
