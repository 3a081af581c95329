"""Decides what follows from what is seen of the workers. The functions are pure."""

from __future__ import annotations

from typing import Sequence

_IDLE = 0.02
"""The largest share of a processor that an idle worker uses. A worker that computes uses much more, so it is busy and
not hung, however long it takes."""
_UNEVEN = 2
"""The number of connections by which any two workers may differ."""


def at_work(reported: bool, busy: float) -> bool:
    """Tells whether a worker does something: it has reported since the last look, as it does every second while its
    event loop runs, or it has used the share `busy` of a processor."""
    return reported or busy > _IDLE


def to_shed(connections: Sequence[int]) -> int | None:
    """Returns the index of the worker that is to close half of its connections because it has far more than another
    one, or None. `connections` has the number of connections of each worker."""
    if len(connections) < 2:
        return None
    most, least = max(connections), min(connections)
    return connections.index(most) if most > 2 * least + _UNEVEN else None
