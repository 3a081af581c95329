"""Pauses between attempts that fail."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_DOUBLINGS = 64


def after(failures: int, first: float, longest: float) -> float:
    """Returns the pause, in seconds, after so many failures in a row, counted from 1."""
    return min(first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), longest)


@dataclass(slots=True)
class Backoff:
    """Exponential backoff: `first` seconds, then twice as long each time, at most `longest`.

    With `at_once` the first attempt follows without a pause. There is no jitter, because only a few callers on one
    machine wait here.
    """

    first: float
    longest: float
    at_once: bool = False
    _failures: int = field(init=False, default=0)

    def pause(self) -> float:
        """Returns the pause before the next attempt, after one that has failed."""
        self._failures += 1
        if self.at_once and self._failures == 1:
            return 0.0
        return after(self._failures - self.at_once, self.first, self.longest)

    def reset(self) -> None:
        """Records a success. The next failure counts as the first one."""
        self._failures = 0
