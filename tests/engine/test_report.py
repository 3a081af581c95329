"""What people read of the fleet."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serinus.core.values import Traffic
from serinus.engine import Report

sys.path.insert(0, str(Path(__file__).parents[1] / "scenarios"))


@pytest.fixture
def report(tmp_path):
    from lab import Lab

    lab = Lab(tmp_path)
    lab.live("6")
    made = Report(lab.world, lambda: {}, lambda: [], {}, lambda: [])
    return lab, made


def said(release, errors, requests):
    return {release: Traffic(release, requests, 300.0, errors, 1.0, 2.0)}


@pytest.mark.parametrize(
    ("errors", "requests", "state"),
    [(0, 1000, "serving"), (9, 20, "serving"), (50, 100_000, "serving"), (674, 58_583, "trouble")],
)
def test_a_model_is_in_trouble_when_more_than_noise_of_its_requests_fails(report, errors, requests, state) -> None:
    lab, made = report
    lab.log.traffic = lambda model, seconds: said(lab.rollout.candidate.id, errors, requests)
    (model,) = made.status()["models"]
    assert model["state"] == state
    assert any("failed, or got the fallback" in note for note in model["notes"]) == (state == "trouble")


def test_what_a_stopped_release_failed_at_is_no_trouble_any_more(report) -> None:
    lab, made = report
    lab.log.traffic = lambda model, seconds: said("fraud-7-stopped", 100, 1000)
    (model,) = made.status()["models"]
    assert (model["state"], model["notes"]) == ("serving", [])


def test_what_the_prediction_log_cannot_do_is_a_warning_of_the_status(report, monkeypatch) -> None:
    lab, made = report
    monkeypatch.setattr(lab.log, "warnings", lambda: ["the prediction log: cannot write: No space left on device"])
    assert made.status()["warnings"] == ["the prediction log: cannot write: No space left on device"]


def test_how_a_release_runs_is_said_with_the_number_of_its_workers(report, monkeypatch) -> None:
    lab, made = report
    (release,) = made.releases(None)
    assert release["runs"] == "ready"
    (placed,) = lab.target.observe().values()
    monkeypatch.setattr(lab.target, "observe", lambda: {placed.release: replace(placed, workers=3)})
    assert made.releases(None)[0]["runs"] == "ready × 3"


def test_a_model_is_in_trouble_while_its_champion_is_not_ready(report) -> None:
    lab, made = report
    assert made.status()["models"][0]["state"] == "serving"
    lab.behaviours["6"].loads = False
    (model,) = made.status()["models"]
    assert model["state"] == "trouble"
    assert any("ImportError" in note for note in model["notes"])


def test_a_release_is_explained_by_its_own_name_or_its_rollouts(report) -> None:
    lab, made = report
    by_rollout = made.explain(lab.rollout.id)
    assert made.explain(lab.rollout.candidate.id)["id"] == by_rollout["id"] == lab.rollout.id
    assert [gate["gate"] for gate in by_rollout["gates"]][:2] == ["scan", "signature"]
    assert datetime.fromisoformat(by_rollout["events"][0]["at"]).tzinfo is not None
    assert by_rollout["events"][-1]["kind"] == "promoted"
    assert lab.clock.now().tzinfo is UTC
