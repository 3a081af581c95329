"""The alert threshold of a release whose spec sets none."""

from __future__ import annotations

import math

import numpy as np

from serinus.core.errors import InvalidInput
from serinus.gates.evidence import Scores


def alert_threshold(scores: Scores, budget: float) -> float:
    """Returns the lowest score that at most the share `budget` of the rows reaches or exceeds.

    Rows with the same score alert together. Where they would exceed the budget, none of them alerts. So the rate is
    never over the budget, and may be far below it for a model with few distinct scores. Where not even the highest
    score fits, the threshold is the next number above it. A row without a score counts as a row and never alerts.

    Raises InvalidInput where no row has a score, or the budget is not between 0 and 1.
    """
    if not 0.0 <= budget <= 1.0:
        raise InvalidInput(f"An alert budget is a share of the rows, 0 to 1, not {budget}.")
    values = np.array([score for score in scores if score is not None], dtype=float)
    values = np.sort(values[np.isfinite(values)])[::-1]
    if values.size == 0:
        raise InvalidInput("No row has a score, so no alert threshold can be derived.")
    allowed = math.floor(budget * len(scores) + 1e-9)
    if allowed >= values.size:
        return float(values[-1])
    fitting = values[:allowed][values[:allowed] > values[allowed]]
    return float(fitting[-1]) if fitting.size else float(np.nextafter(values[0], math.inf))
