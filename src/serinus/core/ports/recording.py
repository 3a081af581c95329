"""What was placed, by a record that outlives the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serinus.core.placement import Recorded


class Recording(Protocol):
    """The releases that were placed, as the files or objects say from which they are run. Implementations:
    targets/kubernetes/recording."""

    def recorded(self) -> Sequence[Recorded]:
        """Returns all releases that are recorded. Raises Refused where one cannot be read, and says which."""
        ...
