"""The performance of champions by day: which of their alerts were frauds, and which frauds they caught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from serinus.core.predictions import OutcomeDay
from serinus.core.routing import Role
from serinus.predictions.labels import matching

_COUNTS = ("labelled", "frauds", "alerts", "caught")


def outcome_days(
    predictions: pl.LazyFrame, outcomes: pl.DataFrame, thresholds: Mapping[str, float]
) -> Sequence[OutcomeDay]:
    """Returns counts by day and release, sorted, of what each release with a threshold answered as the model's
    champion.

    `predictions` is the whole log. A request alerts where one of its rows does.
    """
    at = pl.DataFrame(
        {"release": list(thresholds), "threshold": list(thresholds.values())},
        schema={"release": pl.String, "threshold": pl.Float64},
    )
    mine = (
        matching.labelled(predictions, outcomes)
        .filter(
            pl.col("role") == Role.CHAMPION.value,
            pl.col("status") == 200,
            ~pl.col("fallback"),
            pl.col("label").is_in([0.0, 1.0]),
        )
        .join(at.lazy(), on="release")
    )
    fraud = pl.col("label") == 1.0
    alert = (pl.col("scores").list.max() >= pl.col("threshold")).fill_null(value=False)
    found = (
        mine.group_by("day", "release")
        .agg(
            pl.len().alias("labelled"),
            fraud.sum().alias("frauds"),
            alert.sum().alias("alerts"),
            (alert & fraud).sum().alias("caught"),
        )
        .sort("day", "release")
        .select("release", "day", *_COUNTS)
        .collect()
    )
    return [OutcomeDay(*row) for row in found.iter_rows()]
