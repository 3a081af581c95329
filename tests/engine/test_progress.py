"""How far a canary step is said to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from lab import ADA, Lab

from serinus.core.disturbance import Cause, Disturbance
from serinus.core.errors import Unavailable
from serinus.core.rollout import Phase
from serinus.engine import Report
from serinus.engine.queries.progress import progress
from serinus.resources import Progress


def in_canary(directory: Path, per_second: int, seconds: float) -> Lab:
    """In its first step, at 5%, for so many seconds."""
    lab = Lab(directory)
    lab.live("6")
    lab.register("7")
    lab.per_second = per_second
    lab.desk.deploy(ref="fraud@7", spec=None, actor=ADA)
    lab.run(600, until=lambda: lab.phase is Phase.CANARY)
    lab.run(seconds)
    return lab


@pytest.fixture
def canary(tmp_path: Path) -> Lab:
    """In its first step, at 5% and 100 requests/s, for a minute."""
    return in_canary(tmp_path, per_second=100, seconds=60)


def told(lab: Lab) -> Progress:
    found = progress(lab.world, lab.rollout)
    assert found is not None
    return found


def test_where_a_rate_is_known_the_time_that_is_left_is_told(canary: Lab) -> None:
    found = told(canary)
    assert found.per_second == pytest.approx(5, rel=0.3)
    assert found.seconds_left == pytest.approx((found.requests_left or 0) / found.per_second)
    at, errors = found.ready_at, found.metrics["errors"]
    assert at is not None
    assert f"minutes left at {found.per_second:,.3g} requests/s to the canary, until {at:%H:%M} UTC" in found.text
    assert errors.requests_left is not None
    assert errors.clear_at is not None
    assert errors.requests_left <= (found.requests_left or 0)
    assert errors.clear_at <= at
    began = canary.clock.now()
    canary.run(3600, until=lambda: canary.rollout.status.step == 1)
    assert (canary.clock.now() - began).total_seconds() == pytest.approx(found.seconds_left, rel=0.35)


def test_a_rate_that_has_changed_is_told_as_it_is_now(canary: Lab) -> None:
    canary.run(60)
    canary.per_second = 400
    canary.run(90)
    assert told(canary).per_second == pytest.approx(20, rel=0.2)


def test_a_rate_of_thousands_is_written_out(tmp_path: Path) -> None:
    found = told(in_canary(tmp_path, per_second=40_000, seconds=20))
    assert found.per_second > 1_000
    assert f"at {found.per_second:,.0f} requests/s to the canary" in found.text


def test_where_no_request_arrives_that_is_what_is_told(canary: Lab) -> None:
    canary.per_second = 0
    canary.run(400)
    assert told(canary).text == "no traffic reaches this model"
    assert told(canary).seconds_left is None


def test_a_model_without_any_traffic_from_the_beginning_is_told_of_after_a_moment(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.live("6")
    lab.register("7")
    lab.desk.deploy(ref="fraud@7", spec=None, actor=ADA)
    lab.run(600, until=lambda: lab.phase is Phase.CANARY)
    assert told(lab).text == ""
    lab.run(40)
    assert told(lab).text == "no traffic reaches this model"


def test_a_machine_without_a_free_processor_is_named_as_the_reason(canary: Lab) -> None:
    canary.log.disturbed = Disturbance(Cause.STARVED, since=canary.clock.now().timestamp())
    canary.run(20)
    found = told(canary)
    assert found.text == "all processors of this machine are in use by other processes, so requests are not counted"
    aside = found.set_aside["starved"]
    assert aside == pytest.approx(2_000, rel=0.2)
    said = f"{aside:,} requests do not count: {aside:,} while other processes used all processors"
    assert found.not_counted == said


def test_a_step_that_cannot_be_passed_before_its_end_says_so(canary: Lab) -> None:
    canary.per_second = 0
    canary.run(300)
    canary.per_second = 4
    canary.run(400)
    ends = canary.rollout.steps[0].started_at + timedelta(hours=2)
    assert f"but the step ends without a verdict at {ends:%H:%M} UTC" in told(canary).text
    # A share that was drawn again after ten minutes has begun the record anew, and not the patience.
    status = replace(canary.rollout.status, since=canary.rollout.status.since - timedelta(minutes=10))
    found = progress(canary.world, replace(canary.rollout, status=status))
    ends -= timedelta(minutes=10)
    assert found is not None
    assert f"but the step ends without a verdict at {ends:%H:%M} UTC" in found.text


def test_a_log_that_does_not_answer_is_named(canary: Lab) -> None:
    canary.log.away = True
    found = told(canary)
    assert found.text == "the prediction log does not answer"
    assert found.ready_at is None


def test_counts_that_are_not_known_are_not_taken_for_no_traffic(canary: Lab) -> None:
    canary.log.blind = True
    assert told(canary).text == "the prediction log has no counts for this step yet"


def test_status_explain_and_the_rollout_itself_say_it(canary: Lab) -> None:
    report = Report(canary.world, lambda: {}, lambda: [], {}, lambda: [])
    (model,) = report.status().models
    assert model.rollout.progress == report.explain("fraud").progress == told(canary)
    assert report.rollout(canary.rollout).progress == told(canary)
    canary.log.traffic = lambda model, seconds: (_ for _ in ()).throw(Unavailable("away"))  # type: ignore[method-assign]
    assert report.status().models[0].rollout.progress.text == "away"


def test_a_rollout_that_is_in_no_canary_has_no_progress(canary: Lab) -> None:
    canary.desk.order("fraud", "abort", actor=ADA)
    canary.run(20)
    assert canary.phase is Phase.ABORTED
    assert progress(canary.world, canary.rollout) is None
