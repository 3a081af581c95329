"""The terms of control planes in the store."""

from __future__ import annotations

from typing import Protocol


class Terms(Protocol):
    """The highest term that has begun. Implementations: backends/sql."""

    def last_term(self) -> tuple[int, str]:
        """Returns the number of the highest term that has begun, and the control plane whose term it is. 0 and an empty
        text: none has."""
        ...

    def begin_term(self, term: int, holder: str) -> None:
        """Begins the term of the control plane `holder`. What decides in a lower term is not stored from now on.

        Raises Superseded where a higher term has begun, or this one as that of another control plane.
        """
        ...
