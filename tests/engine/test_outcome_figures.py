"""Figures of the outcomes: by maturity, by week, with intervals."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from serinus.core.predictions import OutcomeDay
from serinus.engine.queries.outcomes import figures, weeks

MONDAY = date(2026, 2, 2)
OLD, NEW = "m-1-aaaaaa", "m-2-bbbbbb"


def day(release: str, after: int, labelled: int, frauds: int, alerts: int, caught: int) -> OutcomeDay:
    return OutcomeDay(release, MONDAY + timedelta(days=after), labelled, frauds, alerts, caught)


def test_recall_is_of_the_frauds_and_precision_of_the_alerts() -> None:
    found = figures([day(OLD, 0, 100, 10, 20, 8), day(OLD, 1, 50, 10, 4, 4)])
    assert found is not None
    assert (found.labelled, found.frauds, found.alerts, found.caught) == (150, 20, 24, 12)
    assert found.recall is not None
    assert found.precision is not None
    assert found.recall.share == pytest.approx(0.6)
    assert found.precision.share == pytest.approx(0.5)
    # Wilson's interval for 12 of 20.
    assert (found.recall.low, found.recall.high) == pytest.approx((0.3866, 0.7812), abs=1e-4)


def test_what_there_is_nothing_of_is_not_given_a_figure() -> None:
    assert figures([]) is None
    found = figures([day(OLD, 0, 5, 0, 0, 0)])
    assert found is not None
    assert (found.recall, found.precision) == (None, None)
    found = figures([day(OLD, 0, 5, 1, 0, 0)])
    assert found is not None
    assert found.recall is not None
    assert found.recall.share == 0.0


def test_a_week_begins_on_monday_and_is_matured_where_all_of_it_is() -> None:
    days = [day(OLD, 6, 1, 1, 1, 1), day(OLD, 0, 10, 1, 1, 0), day(NEW, 7, 3, 0, 1, 0), day(NEW, 6, 2, 0, 0, 0)]
    found = weeks(days, final=MONDAY + timedelta(days=7))
    assert [(one.week, one.release, one.labelled, one.matured) for one in found] == [
        (MONDAY, OLD, 11, True),
        (MONDAY, NEW, 2, True),
        (MONDAY + timedelta(days=7), NEW, 3, False),
    ]
    assert [one.matured for one in weeks(days, final=MONDAY + timedelta(days=6))] == [False, False, False]
