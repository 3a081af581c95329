"""Counts of many streams at once: arrays whose last axis has a place for each number that the prediction log keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.core.evidence import ArmCounts
from simulation.kinds import EVENTS

Counts = npt.NDArray[np.int64]
"""[..., arm, place]"""

_E = len(EVENTS)
REQUESTS, ANSWERED = 0, 1
TOTAL = slice(2, 2 + _E)
"""Of each event, in the order of `EVENTS`."""
STEP, ROLLOUT, WINDOW = (slice(start, start + _E) for start in (7, 12, 17))
"""First events."""
AT_RISK_STEP, AT_RISK_ROLLOUT, AT_RISK_WINDOW = (slice(start, start + _E) for start in (22, 27, 32))
ENTITIES = 37
ENTITIES_ROLLOUT = 38
PLACES = 39


def arm_counts(release: str, counts: npt.NDArray[np.int64]) -> ArmCounts:
    """From the places of one arm."""

    def named(places: slice) -> dict[str, int]:
        return dict(zip(EVENTS, counts[places].tolist(), strict=True))

    totals: dict[str, Any] = named(TOTAL)
    return ArmCounts(
        release,
        requests=int(counts[REQUESTS]),
        answered=int(counts[ANSWERED]),
        rows=int(counts[ANSWERED]),
        **totals,
        first_in_step={**named(STEP), "entities": int(counts[ENTITIES])},
        first_in_rollout={**named(ROLLOUT), "entities": int(counts[ENTITIES_ROLLOUT])},
        at_risk_in_step=named(AT_RISK_STEP),
        at_risk_in_rollout=named(AT_RISK_ROLLOUT),
        first_in_window=named(WINDOW),
        at_risk_in_window=named(AT_RISK_WINDOW),
    )
