"""Which records are set aside: the platform decided how their requests were answered, not a release.

Of both arms alike, for as long as one of them is disturbed: else what happens to the other one in that time would be
compared with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serinus.core.disturbance import Disturbance
from serinus.disturbances import Disturbances
from serinus.predictions.segments.columns import Columns

_LONGEST_WAIT = 30.0
"""Seconds for which a caller can have waited. A record may claim more, to reach back to a disturbance."""
_LATEST = 60.0
"""Seconds between an answer and the arrival of its record. A record that claims to be older was counted as if it was
not: else a model could give its own slow answers the time of a disturbance that is long over."""


class Aside:
    def __init__(self, disturbances: Disturbances) -> None:
        self._disturbances = disturbances

    def mark(self, records: Columns, at: float) -> None:
        """`at`: when they arrived, unix seconds."""
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
