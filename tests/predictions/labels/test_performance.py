"""What the outcomes say of the champions, by the day of the prediction."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from serinus.core.predictions import OutcomeDay
from serinus.predictions.labels.outcomes import SCHEMA
from serinus.predictions.labels.performance import outcome_days
from serinus.predictions.table.delta import COLUMNS

MIDNIGHT = datetime(2026, 2, 4, tzinfo=UTC)


def predictions(*answers: tuple[str, str, timedelta, float]) -> pl.LazyFrame:
    """Id, release, time from midnight on and score of each."""
    rows = [
        {
            "time": MIDNIGHT + after,
            "day": (MIDNIGHT + after).date(),
            "model": "m",
            "release": release,
            "role": "champion",
            "request_id": id_,
            "prediction_id": id_,
            "status": 200,
            "scores": [score],
            "fallback": False,
        }
        for id_, release, after, score in answers
    ]
    return pl.DataFrame(rows, schema=dict(COLUMNS)).lazy()


def labels(**given: float) -> pl.DataFrame:
    rows = [
        {"prediction_id": id_, "request_id": "", "caller": "", "release": "", "label": label, "source": ""}
        for id_, label in given.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(observed_at=pl.lit(MIDNIGHT).cast(SCHEMA["observed_at"]))


def test_days_are_in_utc_and_each_release_has_its_own_threshold() -> None:
    second = timedelta(seconds=1)
    log = predictions(
        ("a", "m-1", -second, 0.6),
        ("b", "m-1", second, 0.6),
        ("c", "m-2", second, 0.6),
        ("d", "m-2", second, 0.9),
        ("e", "m-3", second, 0.9),
    )
    found = outcome_days(log, labels(a=1.0, b=1.0, c=1.0, d=0.0, e=1.0), {"m-1": 0.5, "m-2": 0.7})
    assert found == [
        OutcomeDay("m-1", date(2026, 2, 3), labelled=1, frauds=1, alerts=1, caught=1),
        OutcomeDay("m-1", date(2026, 2, 4), labelled=1, frauds=1, alerts=1, caught=1),
        OutcomeDay("m-2", date(2026, 2, 4), labelled=2, frauds=1, alerts=1, caught=0),
    ]


def test_labels_of_homes_before_0_and_1_were_the_only_ones_are_left_out() -> None:
    log = predictions(("a", "m-1", timedelta(), 0.6), ("b", "m-1", timedelta(), 0.6))
    assert outcome_days(log, labels(a=0.5, b=1.0), {"m-1": 0.5}) == [OutcomeDay("m-1", date(2026, 2, 4), 1, 1, 1, 1)]
    assert outcome_days(log, labels(a=1.0), {}) == []
