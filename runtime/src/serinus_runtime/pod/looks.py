"""What follows from a look at the workers that serve. Pure: nothing is done here."""

from __future__ import annotations

from typing import Sequence

USES_NONE = 0.01
"""Share of a processor that a worker uses at most while it does nothing. One that computes uses nearly all that it
gets, and is busy, however long it takes."""
_UNEVEN = 2
"""Connections by which two workers may differ whatever the shares."""


def hung(silent: float, used: float, most_silent: float) -> bool:
    """Whether a worker that has not said anything for `silent` seconds, and has used the processor for `used` seconds
    meanwhile, will answer nobody. It reports every second while its event loop runs."""
    return silent > most_silent and used < USES_NONE * silent


def to_shed(connections: Sequence[int]) -> int | None:
    """Which of the workers, by their connections, has so many more than another that half of its own are to be spread
    anew; None: they are even enough."""
    if len(connections) < 2:
        return None
    most, least = max(connections), min(connections)
    return connections.index(most) if most > 2 * least + _UNEVEN else None
