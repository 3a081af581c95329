"""The target, which runs releases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from serinus.core.placement import Placement
from serinus.core.release import USUAL, Release, Scale


class Target(Protocol):
    """Runs releases. Implementations: targets/local/host, targets/kubernetes."""

    def place(self, release: Release, scale: Scale = USUAL) -> None:
        """Runs the release with this scale, from now on and after restarts of the target. Returns at once.

        A release that runs already is given the new scale without a failed request. `observe` reports the progress.
        Raises Refused where a different release has this id.
        """
        ...

    def remove(self, release_id: str) -> None:
        """Drains and stops the release. Does nothing where it is not placed."""
        ...

    def activate(self, release_id: str) -> None:
        """Starts a worker of a release that is scaled to zero, and keeps it for some minutes. Returns at once.

        Raises NotFound where the release is not placed.
        """
        ...

    def expect(self, release_id: str, workers: int) -> None:
        """Has the release keep at least so many workers, for load that is coming. Returns at once.

        Its scale and the limits of the target bound the number. 0: as many as its load needs, from when the target has
        measured that. `observe` reports the number as `expected`; 0 again where the target no longer knows it. Does
        nothing where the release is not placed.
        """
        ...

    def distrust(self, release_id: str) -> None:
        """Has the release served by the model's own `predict`, in its own environment, from now on and permanently.

        The decision is stored before the method returns. No request fails because of it. `observe` reports when a
        worker that uses the model's own `predict` is ready.
        """
        ...

    def holds(self, release: Release) -> bool:
        """Whether the target has the artifact and the environment that the release names by digest."""
        ...

    def observe(self) -> Mapping[str, Placement]:
        """Returns all placements by release id."""
        ...
