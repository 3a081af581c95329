"""The memory of one metric from look to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from serinus.judge.bounded import NOTHING, Bounded
from serinus.judge.levels import Level
from serinus.judge.mixture import MULTIPLIERS, Restarting, short

NOTHING_FOR = (0.0,) * (len(MULTIPLIERS) + 1)
NO_LEVELS = (Level(), Level())


@dataclass(frozen=True, slots=True)
class MetricMemory:
    """What the totals do not show: the order of the events, and which entities were at risk at the time."""

    carried: tuple[float, ...] = NOTHING
    """The log gains of `E_bad` over all steps, by an entity's first event of the rollout, for each alternative."""
    restarting: Restarting = field(default_factory=Restarting)
    better: tuple[float, ...] = NOTHING_FOR
    """The log gains of `E_good` in this step, by the ratio to the other arm, for each alternative."""
    bounded: Bounded = field(default_factory=Bounded)
    most: float = 0.0
    """The largest log gain of one window."""
    levels: tuple[Level, Level] = NO_LEVELS
    """The levels of the champion and of the canary. A rare metric has none."""

    def as_json(self) -> dict[str, Any]:
        """Returns the memory as JSON, without zeros."""
        whole = {
            "carried": short(self.carried),
            "restarting": self.restarting.as_json(),
            "better": short(self.better),
            "most": self.most,
            "levels": [] if self.levels is NO_LEVELS else [level.as_json() for level in self.levels],
        }
        return {"bounded": self.bounded.as_json(), **{name: one for name, one in whole.items() if one}}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MetricMemory:
        """Reads the result of `as_json`."""
        carried, restarting = tuple(value.get("carried", NOTHING)), Restarting.from_json(value.get("restarting", {}))
        better = tuple(value.get("better", NOTHING_FOR))
        if "bounded" not in value:  # An earlier version stored the worst window instead.
            worst = value["bursts"]["worst"]
            bounded = Bounded(_less(carried, worst), replace(restarting, logs=_less(restarting.logs, worst)))
            return MetricMemory(carried, restarting, better, bounded)
        levels = NO_LEVELS
        if value.get("levels"):
            levels = (Level.from_json(value["levels"][0]), Level.from_json(value["levels"][1]))
        bounded = Bounded.from_json(value["bounded"])
        return MetricMemory(carried, restarting, better, bounded, value.get("most", 0.0), levels)

    def for_next_step(self) -> MetricMemory:
        """Returns the memory at the beginning of the next step."""
        levels = self.levels
        if levels is not NO_LEVELS:
            levels = (levels[0].for_next_step(), levels[1].for_next_step())
        return MetricMemory(
            carried=self.carried,
            bounded=self.bounded.for_next_step(self.most),
            most=self.most,
            levels=levels,
        )


def added(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    """Returns the sums of two lists of gains. An empty list stands for zeros."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def no_more(gains: Sequence[float]) -> tuple[float, ...]:
    """Returns the gains without those that are in favour."""
    return tuple(min(gain, 0.0) for gain in gains)


def _less(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(one, other, strict=True))
