"""Pauses between tries that fail."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_DOUBLINGS = 64


def after(failures: int, first: float, longest: float) -> float:
    """Seconds of the pause after so many failures in a row, from 1 on."""
    return min(first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), longest)


@dataclass(slots=True)
class Backoff:
    """`first`, then twice as long each time, at most `longest`: seconds. `at_once`: the first try comes without any.

    Exact, without chance: whoever waits here is one of a few on one machine, not one of many that would come together.
    """

    first: float
    longest: float
    at_once: bool = False
    _failures: int = field(init=False, default=0)

    def pause(self) -> float:
        """Before the next try, after one that has failed."""
        self._failures += 1
        if self.at_once and self._failures == 1:
            return 0.0
        return after(self._failures - self.at_once, self.first, self.longest)

    def reset(self) -> None:
        """Reports a success: the next failure counts as the first one."""
        self._failures = 0
