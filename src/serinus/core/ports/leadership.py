"""Which of several control planes decides."""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    """Whether this control plane is the one that decides. Implementations: targets/kubernetes/leading.

    A control plane decides in at most one term. When that has ended, its process ends.
    """

    def term(self) -> int:
        """Returns the number of the term in which this control plane decides now. Each term has a higher number than
        those before it.

        Asks nobody, and takes no time. Raises Superseded where this control plane does not decide, or no longer surely.
        """
        ...

    def end(self, why: str) -> None:
        """Ends the term, because something has shown that another control plane decides. `why` says what, for
        people."""
        ...
