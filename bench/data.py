"""Card transactions as every case sees them: synthetic, seeded, 30 numbers and 4 categories, 0.75 % positives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

NUMBERS = [f"n{index:02d}" for index in range(30)]
CATEGORIES = {"country": 40, "merchant": 200, "channel": 4, "device": 12}
COLUMNS = [*NUMBERS, *CATEGORIES]
POSITIVES = 0.0075
ROWS = 200
"""Different rows that the load rotates over."""


def transactions(rows: int, seed: int = 7) -> tuple[pd.DataFrame, np.ndarray]:
    """(`rows` transactions, whether each is a fraud): categories are strings, 5 % of `n03` are missing."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(0, 1, (rows, len(NUMBERS))).round(4), columns=NUMBERS)
    frame["n00"] = random.exponential(80, rows).round(2)
    for name, kinds in CATEGORIES.items():
        frame[name] = [f"{name[0]}{code}" for code in np.minimum(random.geometric(4 / kinds, rows) - 1, kinds - 1)]
    risk = 0.01 * frame["n00"] + frame["n01"] * frame["n02"] + 2 * (frame["n05"] > 1.5)
    risk += 1.5 * frame["country"].isin(["c7", "c9"]) + random.normal(0, 0.5, rows)
    labels = (risk > np.quantile(risk, 1 - POSITIVES)).to_numpy().astype(int)
    frame.loc[random.random(rows) < 0.05, "n03"] = np.nan
    return frame, labels


def coded(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as the numbers of their codes, for the trees that take only numbers."""
    found = frame.copy()
    for name in CATEGORIES:
        found[name] = found[name].str[1:].astype(float)
    return found.astype(float)


def request_rows(*, strings: bool) -> list[list[Any]]:
    """The rows that are sent, as JSON takes them. Strings come with missing values, which are `None`; numbers without,
    because not every peer takes them."""
    frame, _ = transactions(ROWS, seed=11)
    if not strings:
        frame = coded(frame.fillna(0.0))
    return [[None if value != value else value for value in row] for row in frame.to_numpy().tolist()]
