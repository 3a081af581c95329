"""Labels come late, twice, and corrected."""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import pytest

from serinus.core.errors import InvalidInput
from serinus.core.predictions import Label, Labels
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.paths import imports_path, outcomes_path

DAY = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture
def log(home) -> DeltaPredictionLog:
    return DeltaPredictionLog(home)


def test_an_outcome_is_kept_with_its_time_and_source_over_a_restart(home, log) -> None:
    assert log.label([Label("a", 1.0, DAY, "chargeback")]) == 1
    log.close()
    again = DeltaPredictionLog(home).outcomes()
    assert again.rows() == [("", "a", "", "", 1.0, DAY, "chargeback")]


def test_the_same_again_changes_nothing(log) -> None:
    labels = [Label("a", 1.0, DAY), Label("b", 0.0, DAY)]
    assert log.label(labels) == 2
    assert log.label(labels) == 0


def test_what_was_observed_last_holds_in_whatever_order_it_arrives(log) -> None:
    first, correction = Label("a", 1.0, DAY), Label("a", 0.0, DAY + timedelta(days=9), "analyst")
    assert log.label([correction]) == 1
    assert log.label([first]) == 0
    assert log.outcomes()["label"].to_list() == [0.0]
    assert log.label([Label("a", 1.0, DAY + timedelta(days=10))]) == 1
    assert log.outcomes()["label"].to_list() == [1.0]


def test_of_two_at_the_same_time_the_one_that_arrives_last_holds(log) -> None:
    assert log.label([Label("a", 1.0, DAY), Label("a", 0.0, DAY)]) == 2
    assert log.outcomes()["label"].to_list() == [0.0]


def test_thousands_at_once_are_new_once(log) -> None:
    labels = [Label(f"request-{number % 1500}", float(number % 2), DAY) for number in range(3000)]
    assert log.label(iter(labels)) == 1500
    assert log.outcomes().height == 1500


def test_an_outcome_without_a_prediction_is_kept_and_meets_it_when_it_comes(collector, worker, record, log) -> None:
    sender = worker()
    sender.submit([record(1), record(2)])
    sender.settle()
    log.label([Label("request-1", 1.0, DAY), Label("request-3", 0.0, DAY)])
    assert log.labelled("card-fraud").collect().select("request_id", "label").rows() == [("request-1", 1.0)]
    assert log.unmatched() == 1
    sender.submit([record(3)])
    sender.settle()
    assert log.unmatched() == 0
    assert log.labelled().collect().height == 2
    assert log.labelled("another-model").collect().height == 0


def test_an_earlier_versions_outcomes_are_taken_over(home) -> None:
    with sqlite3.connect(outcomes_path(home)) as before:
        before.execute("create table outcomes (request_id varchar primary key, label float, observed_at, source)")
        before.execute("insert into outcomes values ('a', 1.0, 1772368200123456, 'chargeback')")
    for _ in range(2):
        log = DeltaPredictionLog(home)
        assert log.outcomes().rows() == [("", "a", "", "", 1.0, DAY, "chargeback")]
        log.close()
    assert DeltaPredictionLog(home).label([Label("a", 0.0, DAY + timedelta(days=1))]) == 1


def test_outcomes_of_one_id_that_name_different_callers_are_different(log) -> None:
    labels = [Label("a", 1.0, DAY, caller=caller) for caller in ("", "payments", "batch")]
    assert log.label([*labels, Label("a", 0.0, DAY, prediction_id="own")]) == 4
    assert log.label(labels) == 0
    assert log.label([Label("a", 0.0, DAY + timedelta(1), caller="batch")]) == 1
    assert sorted(log.outcomes().select("caller", "label").rows()) == [
        ("", 0.0),
        ("", 1.0),
        ("batch", 0.0),
        ("payments", 1.0),
    ]


def test_retention_of_less_than_a_day_is_refused(log) -> None:
    with pytest.raises(InvalidInput, match="0 days"):
        log.retain("card-fraud", 0)


def test_what_was_left_for_more_than_a_day_is_removed_by_the_next_import(home, log) -> None:
    part = Labels(["a"], [1.0], [DAY], [""], [""], [""], [""])
    log.stage("0" * 32, 0, part)
    log.stage("1" * 32, 0, part)
    old = time.time() - 24 * 3600 - 1
    os.utime(imports_path(home) / ("0" * 32), (old, old))
    log.stage("2" * 32, 0, part)
    assert sorted(one.name for one in imports_path(home).iterdir()) == ["1" * 32, "2" * 32]


def test_a_large_import_is_written_in_turns_and_read_back_in_parts(log, monkeypatch) -> None:
    monkeypatch.setattr("serinus.predictions.labels.outcomes._MANY", 7)
    ids = [f"r{number}" for number in range(50)]
    empty = [""] * 50
    log.stage("0" * 32, 0, Labels(ids, [float(n % 2) for n in range(50)], [DAY] * 50, empty, empty, empty, empty))
    assert log.attach("0" * 32).changed == 50
    found = log.outcomes().sort("request_id")
    assert found["request_id"].to_list() == sorted(ids)
    assert found["observed_at"].to_list() == [DAY] * 50
    assert found["label"].sum() == 25
