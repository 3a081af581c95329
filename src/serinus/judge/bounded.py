"""Bounds on the evidence of a short time, so that one stall cannot abort a rollout.

A worker that stalls fails all requests that it holds and those that wait behind them. That is one event and not fifty.
Therefore the gains of each window are bounded from above. An e-process stays one when a factor of it is made smaller,
so the bound only makes aborts rarer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serinus.judge.mixture import MULTIPLIERS, Restarting, short

SECONDS = 4.0
"""The length of a window."""
WINDOWS = 3
"""The number of windows that together stay below the bound, however bad they are. A stall of two windows touches at
most three."""
LOOK = 5.0
"""Seconds between two looks from which on a look is a window by itself, with a larger bound."""
IN_A_LOOK, LONG = 1.4, 20.0
"""The bound of one look that covers less than `LONG` seconds, in windows. Longer looks have one in proportion. A stall
of a few seconds may lie in one look or in two."""
NOTHING = (0.0,) * len(MULTIPLIERS)


@dataclass(frozen=True, slots=True)
class Bounded:
    """Both processes of `E_bad` with bounded windows.

    Windows are counted from the beginning of the step. A process restarts only at the end of a window.
    """

    carried: tuple[float, ...] = NOTHING
    """The log gains by first events of the rollout, before the present window, for each alternative."""
    restarting: Restarting = field(default_factory=Restarting)
    """The same by first events of the step."""
    window: int = -1
    """The index of the present window."""
    in_rollout: tuple[float, ...] = NOTHING
    in_step: tuple[float, ...] = NOTHING
    """The gains of the present window so far."""
    events: int = 0
    """The first events of the step in the present window."""

    def after(
        self,
        in_rollout: Sequence[float],
        in_step: Sequence[float],
        events: int,
        elapsed: float,
        seconds: float,
        most: float,
    ) -> Bounded:
        """Returns the state after gains that took `seconds` until `elapsed`. `most` is the largest log gain of a
        window."""
        window = math.floor(elapsed / SECONDS)
        seldom = seconds > LOOK
        present = self if window == self.window and not seldom else self._closed(window, most)
        if in_rollout is NOTHING and in_step is NOTHING:
            return present._closed(window, within(most, seconds)) if seldom else present
        grown = Bounded(
            present.carried,
            present.restarting,
            present.window,
            tuple(a + b for a, b in zip(present.in_rollout, in_rollout, strict=True)),
            tuple(a + b for a, b in zip(present.in_step, in_step, strict=True)),
            present.events + events,
        )
        return grown._closed(window, within(most, seconds)) if seldom else grown

    def whole(self, most: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns the log gains of both processes, including the present window."""
        logs = self.restarting.logs
        return _with(self.carried, self.in_rollout, most), _with(logs, self.in_step, most)

    def for_next_step(self, most: float) -> Bounded:
        """Returns the state at the beginning of the next step."""
        return Bounded(carried=_with(self.carried, self.in_rollout, most))

    def _closed(self, window: int, most: float) -> Bounded:
        if self.in_rollout is NOTHING and self.in_step is NOTHING:
            return Bounded(self.carried, self.restarting, window)
        gains = tuple(min(gain, most) for gain in self.in_step)
        carried = _with(self.carried, self.in_rollout, most)
        return Bounded(carried, self.restarting.after(gains, self.events), window)

    def as_json(self) -> dict[str, Any]:
        """Returns the state as JSON, without zeros."""
        whole = {
            "carried": short(self.carried),
            "restarting": self.restarting.as_json(),
            "in_rollout": short(self.in_rollout),
            "in_step": short(self.in_step),
            "events": self.events,
        }
        return {"window": self.window, **{name: one for name, one in whole.items() if one}}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Bounded:
        """Reads the result of `as_json`."""
        return Bounded(
            tuple(value.get("carried", NOTHING)),
            Restarting.from_json(value.get("restarting", {})),
            value["window"],
            tuple(value.get("in_rollout", NOTHING)),
            tuple(value.get("in_step", NOTHING)),
            value.get("events", 0),
        )


def within(most: float, seconds: float) -> float:
    """Returns the largest log gain of a look that covers so many seconds, where a window may gain `most`."""
    return most * max(min(seconds / LOOK, IN_A_LOOK), (seconds - LONG) / LOOK)


def _with(logs: Sequence[float], gains: Sequence[float], most: float) -> tuple[float, ...]:
    return tuple(log + min(gain, most) for log, gain in zip(logs, gains, strict=True))
