"""The matching of outcomes with predictions.

The id that Serinus gives to a request is unique. A caller's id is not, because callers repeat ids and may use those of
others. An outcome with a caller's id labels a prediction only where that is the only request of the model with the id,
and where its caller and release are those that the outcome names, if it names them.
"""

from __future__ import annotations

import polars as pl

from serinus.core.predictions import OutcomeMatches

_NUMBER = "outcome"
_TOGETHER = 250_000
"""The number of outcomes that are matched at a time."""
_REQUEST = ("model", "prediction_id", "request_id", "release", "time", "status")
"""The columns that identify a row of the log."""


def labelled(predictions: pl.LazyFrame, outcomes: pl.DataFrame) -> pl.LazyFrame:
    """Returns the rows of `predictions` that have an outcome, with label, observed_at and source of the latest one.

    Ambiguous outcomes are left out.
    """
    found = _found(predictions, outcomes)
    sure = found.filter(pl.col("requests") == 1).sort("observed_at", maintain_order=True)
    once = sure.unique(subset=list(_REQUEST), keep="last", maintain_order=True)
    return once.drop(_NUMBER, "requests")


def matches(predictions: pl.LazyFrame, outcomes: pl.DataFrame) -> OutcomeMatches:
    """Returns the numbers of matched, unmatched and ambiguous outcomes."""
    found = several = 0
    # Outcomes are matched independently of each other, so that memory can be bounded.
    for part in outcomes.iter_slices(_TOGETHER):
        met = _found(predictions, part).group_by(_NUMBER).agg(pl.col("requests").max()).collect()
        found += met.height
        several += int((met["requests"] > 1).sum())
    return OutcomeMatches(outcomes.height, outcomes.height - found, several)


def _found(predictions: pl.LazyFrame, outcomes: pl.DataFrame) -> pl.LazyFrame:
    """Joins each prediction with each outcome that may be of it, and with the number of `requests` of its model that
    the outcome may be of."""
    said = outcomes.with_row_index(_NUMBER).lazy()
    names = [column for column in said.collect_schema().names() if column in ("request_id", "caller", "release")]
    said = said.rename({name: f"said_{name}" for name in names})
    by_own = said.filter(pl.col("prediction_id") != "")
    by_given = said.filter(pl.col("prediction_id") == "").drop("prediction_id")
    exact = predictions.join(by_own, on="prediction_id", how="inner")
    exact = exact.filter(_agrees("request_id"), _agrees("caller"), _agrees("release"))
    given = predictions.join(by_given, left_on="request_id", right_on="said_request_id", how="inner")
    given = given.filter(_agrees("caller"), _agrees("release"))
    both = pl.concat([exact.drop("said_request_id"), given], how="diagonal")
    # The router's answer and a late one of the release are two rows of one request.
    own = pl.struct("prediction_id", "release").filter(pl.col("prediction_id").is_not_null()).n_unique()
    of_earlier_versions = (pl.col("prediction_id").is_null() & (pl.col("status") > 0)).sum()
    requests = (own + of_earlier_versions).clip(lower_bound=1).over(_NUMBER, "model").alias("requests")
    return both.with_columns(requests).drop("said_caller", "said_release")


def _agrees(name: str) -> pl.Expr:
    """Whether a column equals what the outcome says of it, where the outcome says something."""
    said = pl.col(f"said_{name}")
    return (said == "") | (said == pl.col(name)).fill_null(value=False)
