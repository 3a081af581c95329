"""One burst alone aborts nothing: what a moment has told against a release, by time and not by look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serinus.judge.mixture import MULTIPLIERS

SECONDS = 10.0
"""A worker that stalls fails all that it holds, and what waits behind it, within so long."""
_OFFSETS = (0.0, SECONDS / 2)
"""Two rows of windows that overlap by half: whatever takes up to half a window lies within one of them."""
NOTHING = (0.0,) * len(MULTIPLIERS)


@dataclass(frozen=True, slots=True)
class Bursts:
    """Per alternative, the most that any one window has gained. Windows are counted from the beginning of the step."""

    windows: tuple[tuple[int, tuple[float, ...]], ...] = ((-1, NOTHING),) * len(_OFFSETS)
    """The present one of each row: number, log gains so far."""
    worst: tuple[float, ...] = NOTHING

    def after(self, gains: Sequence[float], elapsed: float, seconds: float) -> Bursts:
        """`seconds` that `gains` took, until `elapsed`. Those that took more than a window may have many causes."""
        if seconds > SECONDS:
            return self
        windows, worst = [], self.worst
        for (number, before), offset in zip(self.windows, _OFFSETS, strict=True):
            present = math.floor((elapsed + offset) / SECONDS)
            sums = tuple(a + b for a, b in zip(before if number == present else NOTHING, gains, strict=True))
            windows.append((present, sums))
            worst = tuple(max(a, b) for a, b in zip(worst, sums, strict=True))
        return Bursts(tuple(windows), worst)

    def for_next_step(self) -> Bursts:
        return Bursts(worst=self.worst)

    def as_json(self) -> dict[str, Any]:
        return {"windows": [[number, list(gains)] for number, gains in self.windows], "worst": list(self.worst)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Bursts:
        windows = tuple((number, tuple(gains)) for number, gains in value["windows"])
        return Bursts(windows, tuple(value["worst"]))
