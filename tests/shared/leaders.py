"""A leadership of a given term, until something ends it."""

from __future__ import annotations

from serinus.core.errors import Superseded


class Leader:
    """Implements `Leadership`."""

    def __init__(self, term: int) -> None:
        self._term = term
        self.ended = ""
        """Why it has ended. Empty: it has not."""

    def term(self) -> int:
        if self.ended:
            raise Superseded(self.ended)
        return self._term

    def end(self, why: str) -> None:
        self.ended = why
