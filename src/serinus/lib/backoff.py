"""Pauses between tries that fail."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """`first`, then twice as long each time, at most `longest`: seconds. `at_once`: the first try comes without any.

    Exact, without chance: whoever waits here is one of a few on one machine, not one of many that would come together.
    """

    first: float
    longest: float
    at_once: bool = False
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def pause(self) -> float:
        """Before the next try, after one that has failed."""
        pause, self._next = self._next, min(max(2 * self._next, self.first), self.longest)
        return pause

    def reset(self) -> None:
        """It has gone well: the next failure is the first one again."""
        self._next = 0.0 if self.at_once else self.first
