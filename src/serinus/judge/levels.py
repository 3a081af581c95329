"""The usual level of an event on one arm, and the times in which the arm is above it.

An incident of some minutes on one arm, such as a wave of fraud or a slow machine, makes the other arm look better than
it is. Such times count neither for the other arm nor against it. The rule looks at one arm alone and only leaves out
evidence for a verdict, so it can delay a verdict and cannot make it wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

LEAST, MOST = 5.0, 60.0
"""The length of a window in seconds, at least and at most. It ends in between once it has `ENOUGH` events."""
ENOUGH = 20
TIMES = 2.0
"""The factor over the level up to which an arm is not above it, apart from chance."""
STANDING = 150.0
"""Seconds after which a higher level is the new level. Incidents of two minutes are shorter."""
REMEMBERED = 600.0
"""The half-life, in seconds, of the counts that determine the level."""


@dataclass(frozen=True, slots=True)
class Level:
    """The level of one event on one arm, by all its requests."""

    events: float = 0.0
    trials: float = 0.0
    seconds: float = 0.0
    """Events, trials and seconds that determine the level. 0 seconds: it is not known yet."""
    open_events: int = 0
    open_trials: int = 0
    open_seconds: float = 0.0
    """Events, trials and seconds of the present window."""
    high_events: int = 0
    high_trials: int = 0
    high_seconds: float = 0.0
    """Events, trials and seconds of the windows before it that were above the level in a row."""
    sank: bool = False
    """At the last look, what was taken for the level turned out to be an incident. The evidence that rests on it is
    void."""

    @property
    def departs(self) -> bool:
        """Whether the arm is above its level."""
        return self.high_seconds > 0.0 or self._above()

    def after(self, events: int, trials: int, seconds: float) -> Level:
        """Returns the level after the counts of a look."""
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
        """Returns the level at the beginning of the next step. Windows start again, because the share of the traffic
        differs."""
        return Level(self.events, self.trials, self.seconds)

    def _expected(self) -> float:
        """Returns the expected events of the present window at the level. One more event is assumed than was
        observed."""
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
        """Returns the fields in their order, without zeros at the end."""
        values = [getattr(self, name) for name in _NAMES]
        while values and not values[-1]:
            values.pop()
        return values

    @staticmethod
    def from_json(value: Sequence[Any] | Mapping[str, Any]) -> Level:
        """Reads the result of `as_json`. Earlier versions named the fields."""
        return Level(**value) if isinstance(value, Mapping) else Level(*value)


_NAMES = tuple(field.name for field in fields(Level))


def _exceeds(seen: float, expected: float) -> bool:
    """Whether the events are more than `TIMES` the expected ones, and more than chance explains."""
    allowed = TIMES * expected
    return seen > allowed + 3.0 * math.sqrt(allowed) + 2.0
