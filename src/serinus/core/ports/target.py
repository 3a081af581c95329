"""Where releases run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from serinus.core.placement import Placement
from serinus.core.release import USUAL, Release, Scale


class Target(Protocol):
    """Where releases run. Implementations: targets/local/host."""

    def place(self, release: Release, scale: Scale = USUAL) -> None:
        """Have it running with this scale, from now on and after a restart. One that runs is given another scale
        without a failed request. Returns at once; `observe` tells what became of it. Refused: another release is placed
        under this id."""
        ...

    def remove(self, release_id: str) -> None:
        """Drains and stops it. Nothing happens where it is not."""
        ...

    def activate(self, release_id: str) -> None:
        """Starts a worker of a release that is scaled to zero before it is asked for, and keeps it up for some minutes.
        Returns at once. NotFound: it is not placed."""
        ...

    def distrust(self, release_id: str) -> None:
        """Has it served the long way, by the model's own predict in its own environment, from now on, whenever it is
        placed, and after every restart; nothing takes that back. No request fails by it. Durable on return; `observe`
        tells when a worker that goes the long way is ready."""
        ...

    def holds(self, release: Release) -> bool:
        """Whether what the release names by digest, its artifact and its environment, can be had where it would run."""
        ...

    def observe(self) -> Mapping[str, Placement]:
        """Every placed release."""
        ...
