"""An arm's own level of an event, and the times in which it departs from it upwards.

What one arm has for two minutes alone, as a wave of fraud or a slow machine, makes the other arm look better than it
is. Such times speak neither for the other arm nor against it. The rule looks at one arm alone, and leaves out only what
would be in favour of a verdict: it can make a verdict later, and never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

LEAST, MOST = 5.0, 60.0
"""Seconds of a window. It ends in between once it has events enough."""
ENOUGH = 20
TIMES = 2.0
"""The level up to which an arm has not departed from it, apart from chance."""
STANDING = 150.0
"""Seconds in a row after which what departs is the level. Incidents of two minutes are shorter."""
REMEMBERED = 600.0
"""Seconds after which what the level was told by counts half as much."""


@dataclass(frozen=True, slots=True)
class Level:
    """Of one event on one arm, by all its requests."""

    events: float = 0.0
    trials: float = 0.0
    seconds: float = 0.0
    """What tells the level; no seconds: it is not known yet."""
    open_events: int = 0
    open_trials: int = 0
    open_seconds: float = 0.0
    """The present window."""
    high_events: int = 0
    high_trials: int = 0
    high_seconds: float = 0.0
    """The windows before it, as many of them in a row as were above the level."""
    sank: bool = False
    """At the last look: what was taken for the level was an incident, and so is all that was told by it."""

    @property
    def departs(self) -> bool:
        return self.high_seconds > 0.0 or self._above()

    def after(self, events: int, trials: int, seconds: float) -> Level:
        """With what a look has counted."""
        present = Level(
            self.events,
            self.trials,
            self.seconds,
            self.open_events + events,
            self.open_trials + trials,
            self.open_seconds + seconds,
            self.high_events,
            self.high_trials,
            self.high_seconds,
        )
        return present._closed() if present._ends() else present

    def for_next_step(self) -> Level:
        """What was told stays; another step has another share of the traffic, and its windows begin anew."""
        return Level(self.events, self.trials, self.seconds)

    def _expected(self) -> float:
        """Events of the present window at the level; one more than were seen, as few say little."""
        return (self.events + 1.0) / self.trials * self.open_trials if self.trials else math.inf

    def _above(self) -> bool:
        return _exceeds(self.open_events, self._expected())

    def _ends(self) -> bool:
        if self.open_seconds < LEAST:
            return False
        expected = self._expected() if self.trials else 0.0
        return self.open_events >= ENOUGH or expected >= ENOUGH or self.open_seconds >= MOST

    def _closed(self) -> Level:
        if not self.trials:
            return self._at_the_open()
        if self._above():
            high = Level(
                self.events,
                self.trials,
                self.seconds,
                high_events=self.high_events + self.open_events,
                high_trials=self.high_trials + self.open_trials,
                high_seconds=self.high_seconds + self.open_seconds,
            )
            if high.high_seconds <= STANDING:
                return high
            return Level(float(high.high_events), float(high.high_trials), high.high_seconds)
        if _exceeds(self.events / self.trials * self.open_trials, self.open_events + 1.0):
            return replace(self._at_the_open(), sank=True)
        half = 0.5 if self.seconds > REMEMBERED else 1.0
        return Level(
            half * self.events + self.open_events,
            half * self.trials + self.open_trials,
            half * self.seconds + self.open_seconds,
        )

    def _at_the_open(self) -> Level:
        return Level(float(self.open_events), float(self.open_trials), self.open_seconds)

    def as_json(self) -> list[float]:
        """The fields in their order, without those at the end that are zero."""
        values = [getattr(self, name) for name in _NAMES]
        while values and not values[-1]:
            values.pop()
        return values

    @staticmethod
    def from_json(value: Sequence[Any] | Mapping[str, Any]) -> Level:
        """Earlier versions named the fields."""
        return Level(**value) if isinstance(value, Mapping) else Level(*value)


_NAMES = tuple(field.name for field in fields(Level))


def _exceeds(seen: float, expected: float) -> bool:
    """By more than the level may, and by more than chance does."""
    allowed = TIMES * expected
    return seen > allowed + 3.0 * math.sqrt(allowed) + 2.0
