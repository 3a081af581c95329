"""Records that are set aside, because the platform, not a release, decided how their requests were answered.

Both arms are set aside while one of them is disturbed. Otherwise the other one would be compared with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serinus.core.disturbance import Disturbance
from serinus.disturbances import Disturbances
from serinus.predictions.segments.columns import Columns

_LONGEST_WAIT = 30.0
"""The longest time, in seconds, for which a caller can have waited. A record might claim more, to reach back to a
disturbance."""
_LATEST = 60.0
"""The longest time, in seconds, between an answer and the arrival of its record. An older time is not believed, because
a model could move its slow answers into a past disturbance."""


class Aside:
    """Marks records."""

    def __init__(self, disturbances: Disturbances) -> None:
        self._disturbances = disturbances

    def mark(self, records: Columns, at: float) -> None:
        """Marks the records that are set aside. `at` is the time of their arrival in Unix seconds."""
        if not len(records):
            return
        lately = self._disturbances.within(at - _LATEST - _LONGEST_WAIT, at)
        if lately:
            records.set_aside = _causes(records, at, lately)


def _causes(records: Columns, at: float, disturbances: Sequence[Disturbance]) -> list[str | None]:
    ended = np.clip(np.array(records.time, dtype=np.float64), at - _LATEST, at)
    begun = ended - np.minimum(np.array(records.ms, dtype=np.float64) / 1000, _LONGEST_WAIT)
    models = np.array(records.model)
    causes: list[str | None] = [None] * len(records)
    for one in disturbances:
        within = (begun <= one.end) & (ended >= one.since)
        if one.model:
            within &= models == one.model
        for place in np.flatnonzero(within):
            causes[place] = causes[place] or one.cause.value
    return causes
