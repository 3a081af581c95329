"""No caller can label, relabel or hide another's prediction by the id that it gives its own requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serinus.core.predictions import Label, OutcomeMatches
from serinus.predictions import DeltaPredictionLog

DAY = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
OTHER = "card-fraud-8-bbbbbb"

Send = Callable[..., None]


@pytest.fixture
def log(home) -> DeltaPredictionLog:
    return DeltaPredictionLog(home)


@pytest.fixture
def send(collector, worker, record) -> Send:
    """Writes a record of `number` to the log."""
    workers: dict[str, Any] = {}

    def write(number: int = 1, release: str = "card-fraud-7-3f9a2c", **changes: Any) -> None:
        sender = workers.get(release) or workers.setdefault(release, worker(release))
        sender.submit([record(number, **changes)])
        sender.settle()

    return write


def labelled(log: DeltaPredictionLog) -> list[tuple[Any, ...]]:
    found = log.labelled().select("prediction_id", "caller", "label").collect()
    return sorted(found.rows(), key=repr)


def test_serinus_own_id_is_enough_though_somebody_repeats_the_callers(log, send: Send) -> None:
    send(prediction="own-1", caller="payments")
    send(prediction="own-2", caller="mallory")
    log.label([Label("", 1.0, DAY, prediction_id="own-1")])
    assert labelled(log) == [("own-1", "payments", 1.0)]
    assert log.matches() == OutcomeMatches(1, unmatched=0, ambiguous=0)


def test_a_callers_id_that_several_requests_have_labels_none_of_them_and_is_counted(log, send: Send) -> None:
    log.label([Label("request-1", 1.0, DAY)])
    send(prediction="own-1")
    assert labelled(log) == [("own-1", None, 1.0)]
    send(prediction="own-2")
    assert labelled(log) == []
    assert log.matches() == OutcomeMatches(1, unmatched=0, ambiguous=1)


@pytest.mark.parametrize("said", [{"caller": "payments"}, {"release": OTHER}])
def test_the_caller_or_the_release_tells_requests_of_one_id_apart(log, send: Send, said: dict[str, str]) -> None:
    send(prediction="own-1", caller="mallory")
    send(prediction="own-2", caller="payments", release=OTHER)
    log.label([Label("request-1", 1.0, DAY, **said)])
    assert labelled(log) == [("own-2", "payments", 1.0)]
    assert log.matches().ambiguous == 0


def test_what_an_outcome_says_beside_the_id_must_be_so(log, send: Send) -> None:
    send(prediction="own-1", caller="payments")
    wrong: list[dict[str, str]] = [{"caller": "mallory"}, {"release": OTHER}, {"request_id": "request-2"}]
    log.label(
        [Label(**{"request_id": "", "label": 1.0, "observed_at": DAY, "prediction_id": "own-1", **w}) for w in wrong]
    )
    assert labelled(log) == []
    assert log.unmatched() == 3


def test_an_outcome_without_a_caller_known_says_nothing_of_one_that_is_unknown(log, send: Send) -> None:
    send(prediction="own-1")
    log.label([Label("request-1", 1.0, DAY, caller="payments")])
    assert labelled(log) == []


def test_requests_of_different_models_may_share_an_id(log, send: Send) -> None:
    send(prediction="own-1")
    send(prediction="own-2", release="churn-3-abcdef")
    log.label([Label("request-1", 1.0, DAY)])
    assert labelled(log) == [("own-1", None, 1.0), ("own-2", None, 1.0)]
    assert log.matches().ambiguous == 0


def test_of_several_outcomes_of_one_prediction_the_one_observed_last_holds(log, send: Send) -> None:
    send(prediction="own-1")
    log.label([Label("request-1", 1.0, DAY + timedelta(1)), Label("", 0.0, DAY, prediction_id="own-1")])
    assert labelled(log) == [("own-1", None, 1.0)]
    log.label([Label("", 0.0, DAY + timedelta(2), prediction_id="own-1")])
    assert labelled(log) == [("own-1", None, 0.0)]


def test_requests_of_earlier_versions_are_labelled_by_the_callers_id_alone(log, send: Send) -> None:
    send(1)
    send(2)
    send(2)
    log.label([Label("request-1", 1.0, DAY), Label("request-2", 1.0, DAY)])
    assert log.labelled().collect()["request_id"].to_list() == ["request-1"]
    assert log.matches().ambiguous == 1


def test_a_request_outside_the_time_that_is_read_still_makes_an_id_ambiguous(log, send: Send) -> None:
    send(prediction="own-1")
    between = datetime.now(UTC)
    send(prediction="own-2")
    log.label([Label("request-1", 1.0, DAY)])
    assert log.labelled(since=between).collect().height == 0


def test_a_late_answer_and_the_routers_are_one_request(log, send: Send, local_reply, until, record) -> None:
    started = record()["t"]
    local_reply(1, t=started, ms=250, prediction="own-1", caller="payments")
    send(1, t=started + 0.3, ms=300, prediction="own-1", caller="payments")
    log.label([Label("request-1", 1.0, DAY)])
    until(lambda: set(log.labelled().collect()["status"]) == {0, 504})
    rows = log.labelled().collect()
    assert sorted(rows["status"]) == [0, 504]
    assert rows["caller"].to_list() == ["payments", "payments"]


def test_who_repeats_anothers_id_at_the_same_moment_does_not_make_its_answer_late(
    log, send: Send, local_reply, until, record
) -> None:
    started = record()["t"]
    local_reply(1, t=started, ms=250, prediction="mallorys")
    send(1, t=started + 0.2, ms=200, prediction="own-1")
    until(lambda: log.read().collect().height == 2 and log._ledger.replies())
    rows = log.read().collect()
    assert sorted(rows.select("prediction_id", "status").rows()) == [("mallorys", 504), ("own-1", 200)]
