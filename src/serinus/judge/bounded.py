"""One stall alone aborts nothing: what a few seconds may tell against a release is bounded, by time and not by look.

A worker that stalls fails all that it holds, and what waits behind it: that is one event, and not fifty. So the gains
of each window are bounded from above. A factor of an e-process that is made smaller leaves it an e-process, so that
this only ever makes an abort rarer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serinus.judge.mixture import MULTIPLIERS, Restarting, short

SECONDS = 4.0
"""Of a window."""
WINDOWS = 3
"""That together stay below the bound, however bad they are: a stall of two windows touches at most three."""
LOOK = 5.0
"""Seconds between two looks, from which on a look is a window by itself, and may tell more."""
IN_A_LOOK, LONG = 1.4, 20.0
"""Times a window that a look tells at most which took less than `LONG` seconds; what it took longer is in proportion. A
stall of a few seconds may lie in one look or in two, and all that these have seen is of it."""
NOTHING = (0.0,) * len(MULTIPLIERS)


@dataclass(frozen=True, slots=True)
class Bounded:
    """`E_bad` once more, both of its processes, with bounded windows. Windows are counted from the beginning of the
    step; a process starts anew at the end of a window only."""

    carried: tuple[float, ...] = NOTHING
    """Per alternative: log gains by first events of the rollout, in the windows before the present one."""
    restarting: Restarting = field(default_factory=Restarting)
    """By first events of the step, in the windows before the present one."""
    window: int = -1
    """The present one."""
    in_rollout: tuple[float, ...] = NOTHING
    in_step: tuple[float, ...] = NOTHING
    """What the present window has gained so far."""
    events: int = 0
    """First ones of the step, in the present window."""

    def after(
        self,
        in_rollout: Sequence[float],
        in_step: Sequence[float],
        events: int,
        elapsed: float,
        seconds: float,
        most: float,
    ) -> Bounded:
        """`seconds` that the gains took, until `elapsed`; `most`: the log by which a window may grow."""
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
        """Log gains of both processes, the present window included."""
        logs = self.restarting.logs
        return _with(self.carried, self.in_rollout, most), _with(logs, self.in_step, most)

    def for_next_step(self, most: float) -> Bounded:
        return Bounded(carried=_with(self.carried, self.in_rollout, most))

    def _closed(self, window: int, most: float) -> Bounded:
        if self.in_rollout is NOTHING and self.in_step is NOTHING:
            return Bounded(self.carried, self.restarting, window)
        gains = tuple(min(gain, most) for gain in self.in_step)
        carried = _with(self.carried, self.in_rollout, most)
        return Bounded(carried, self.restarting.after(gains, self.events), window)

    def as_json(self) -> dict[str, Any]:
        """Without what is zero."""
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
        return Bounded(
            tuple(value.get("carried", NOTHING)),
            Restarting.from_json(value.get("restarting", {})),
            value["window"],
            tuple(value.get("in_rollout", NOTHING)),
            tuple(value.get("in_step", NOTHING)),
            value.get("events", 0),
        )


def within(most: float, seconds: float) -> float:
    """The log by which a look that took so many seconds may grow, where a window may grow by `most`."""
    return most * max(min(seconds / LOOK, IN_A_LOOK), (seconds - LONG) / LOOK)


def _with(logs: Sequence[float], gains: Sequence[float], most: float) -> tuple[float, ...]:
    return tuple(log + min(gain, most) for log, gain in zip(logs, gains, strict=True))
