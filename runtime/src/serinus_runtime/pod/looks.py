"""Decides what follows from what is seen of the workers. The functions are pure."""

from __future__ import annotations

from typing import Sequence

USES_NONE = 0.01
"""The largest share of a processor that an idle worker uses. A worker that computes uses much more, so it is busy and
not hung, however long it takes."""
_UNEVEN = 2
"""The number of connections by which any two workers may differ."""


def hung(silent: float, used: float, most_silent: float) -> bool:
    """Tells whether a worker is hung. It has reported nothing for `silent` seconds and used `used` seconds of processor
    time in them. A worker reports every second while its event loop runs."""
    return silent > most_silent and used < USES_NONE * silent


def to_shed(connections: Sequence[int]) -> int | None:
    """Returns the index of the worker that is to close half of its connections because it has far more than another
    one, or None. `connections` has the number of connections of each worker."""
    if len(connections) < 2:
        return None
    most, least = max(connections), min(connections)
    return connections.index(most) if most > 2 * least + _UNEVEN else None
