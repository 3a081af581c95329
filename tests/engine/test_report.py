"""What people read of the fleet."""

from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from lab import ADA, Lab
from sqlalchemy import Engine, event

from serinus.core.errors import NotFound
from serinus.core.evidence import Streak, Totals, Traffic
from serinus.core.placement import PlacementState
from serinus.core.rollout import Phase
from serinus.engine import Report


@pytest.fixture
def report(tmp_path):

    lab = Lab(tmp_path)
    lab.live("6")
    made = Report(lab.world, lambda: {}, lambda: [], {}, lambda: [])
    return lab, made


def said(release, errors, requests):
    return {release: Traffic(release, requests, 300.0, errors, 1.0, 2.0)}


def answered(lab, traffic):
    """Lately, by each release."""
    lab.log.traffic = lambda model, seconds: traffic
    lab.log.traffic_of_all = lambda seconds: {"fraud": traffic}


@pytest.mark.parametrize(
    ("errors", "requests", "state"),
    [
        (0, 1000, "serving"), (2, 2, "serving"), (3, 6, "serving"), (9, 20, "serving"), (50, 100_000, "serving"),
        (3, 3, "trouble"), (3, 5, "trouble"), (11, 20, "trouble"), (674, 58_583, "trouble"),
    ],
)  # fmt: skip
def test_a_model_is_in_trouble_when_more_than_noise_or_most_of_its_requests_fail(
    report, errors, requests, state
) -> None:
    lab, made = report
    answered(lab, said(lab.rollout.candidate.id, errors, requests))
    (model,) = made.status().models
    assert model.state == state
    assert any("failed or got the fallback" in note for note in model.notes) == (state == "trouble")


def test_what_a_stopped_release_did_is_not_shown_any_more(report) -> None:
    lab, made = report
    answered(lab, said("fraud-7-stopped", 100, 1000))
    (model,) = made.status().models
    assert (model.state, model.notes, model.traffic) == ("serving", [], [])


def counters(lab, *, failing, answered, failed):
    """Of the champion, with times in seconds before now."""
    before = [
        None if seconds is None else lab.clock.now() - timedelta(seconds=seconds) for seconds in (answered, failed)
    ]
    champion = lab.store.model("fraud").champion.id
    return {champion: Totals(champion, "fraud", 1000, 1000, streak=Streak(failing, *before))}


@pytest.mark.parametrize(
    ("failing", "answered", "failed", "awake", "words"),
    [
        (2, 30, 1, 600, ""),
        (3, 30, 1, 600, "the last 3 requests"),
        (1, None, 1, 600, "has answered no request since its worker started"),
        (1, 900, 1, 600, "has answered no request since its worker started"),
        (5, 900, 700, 600, ""),
        (5, 900, 700, None, "the last 5 requests"),
        (0, 1, 30, 600, ""),
    ],
)
def test_a_champion_that_does_not_answer_now_is_in_trouble_whatever_it_answered_before(
    report, monkeypatch, failing, answered, failed, awake, words
) -> None:
    lab, made = report
    lab.clock.time += timedelta(hours=1)
    monkeypatch.setattr(lab.log, "totals", lambda: counters(lab, failing=failing, answered=answered, failed=failed))
    (placed,) = lab.target.observe().values()
    since = None if awake is None else lab.clock.now() - timedelta(seconds=awake)
    monkeypatch.setattr(lab.target, "observe", lambda: {placed.release: replace(placed, active_since=since)})
    (model,) = made.status().models
    assert model.state == ("trouble" if words else "serving")
    assert any(words in note for note in model.notes) == bool(words)


def test_what_it_failed_at_before_it_became_champion_again_is_no_trouble(report, monkeypatch) -> None:
    lab, made = report
    monkeypatch.setattr(lab.log, "totals", lambda: counters(lab, failing=9, answered=None, failed=86_400))
    (model,) = made.status().models
    assert model.state == "serving"


def test_a_candidates_figures_are_those_of_this_rollout_alone(report) -> None:
    """The same release was tried before, within the window."""
    lab, made = report
    lab.register("7")
    lab.desk.deploy(ref="fraud@7", spec=None, actor=ADA)
    lab.run(600, until=lambda: lab.phase is Phase.CANARY)
    candidate = lab.rollout.candidate.id
    answered(lab, said(candidate, 900, 1000))
    lab.log.counted[lab.rollout.steps[0].split] = {candidate: {"requests": 40, "errors": 1}}
    (model,) = made.status().models
    shown = next(t for t in model.traffic if t.release == candidate)
    assert (shown.requests, shown.errors, shown.p99_ms) == (40, 1, None)
    assert not any("900" in note for note in model.notes)


def test_what_the_prediction_log_cannot_do_is_a_warning_of_the_status(report, monkeypatch) -> None:
    lab, made = report
    monkeypatch.setattr(lab.log, "warnings", lambda: ["the prediction log: cannot write: No space left on device"])
    assert made.status().warnings == ["the prediction log: cannot write: No space left on device"]


def test_how_a_release_runs_is_said_with_the_number_of_its_workers(report, monkeypatch) -> None:
    lab, made = report
    (release,) = made.releases(None)
    assert release.runs == "ready"
    (placed,) = lab.target.observe().values()
    monkeypatch.setattr(lab.target, "observe", lambda: {placed.release: replace(placed, workers=3)})
    assert made.releases(None)[0].runs == "ready × 3"


def queries(act):
    """How many the store makes."""
    made = []

    def note(*said):
        made.append(said[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return len(made)


def test_releases_take_as_many_queries_however_many_there_are(report) -> None:
    lab, made = report
    few = queries(lambda: made.releases(None))
    (release,) = lab.store.releases()
    for number in range(30):
        lab.store.add_release(replace(release, id=f"fraud-{number}-abcdef", version=str(number)))
    assert len(made.releases(None)) == 31
    assert queries(lambda: made.releases(None)) == few > 0


def test_models_that_do_not_answer_are_found_without_asking_the_prediction_log(report, monkeypatch) -> None:
    lab, made = report
    monkeypatch.setattr(lab.world.log, "traffic_of_all", lambda seconds: pytest.fail("it was asked"))
    assert made.silent_models() == []
    lab.behaviours["6"].loads = False
    (silent,) = made.silent_models()
    assert (silent.model, silent.placement, silent.remarks) == ("fraud", "failed", "ImportError")


def test_a_model_is_in_trouble_while_its_champion_is_not_ready(report) -> None:
    lab, made = report
    assert made.status().models[0].state == "serving"
    lab.behaviours["6"].loads = False
    (model,) = made.status().models
    assert model.state == "trouble"
    assert any("ImportError" in note for note in model.notes)


def test_a_release_is_explained_by_its_own_name_or_its_rollouts(report) -> None:
    lab, made = report
    by_rollout = made.explain(lab.rollout.id)
    assert made.explain(lab.rollout.candidate.id).id == by_rollout.id == lab.rollout.id
    assert [gate.gate for gate in by_rollout.gates][:2] == ["scan", "signature"]
    assert by_rollout.events[0].at.tzinfo is not None
    assert by_rollout.events[-1].kind == "promoted"
    assert lab.clock.now().tzinfo is UTC


def process(name, lab, *, seconds_ago, state="running"):
    since = lab.clock.now().timestamp() - seconds_ago
    return {"name": name, "state": state, "pid": 1, "restarts": 0, "since": since, "reason": ""}


@pytest.mark.parametrize(
    ("placement", "host_seconds", "state"),
    [
        ({"state": PlacementState.STARTING}, 3600, "starting"),
        ({"state": PlacementState.STARTING, "restarts": 1}, 3600, "trouble"),
        ({"state": PlacementState.STARTING, "reason": "exited with status 1"}, 5, "trouble"),
        ({"state": PlacementState.FAILED}, 5, "trouble"),
        (None, 5, "starting"),
        (None, 3600, "trouble"),
    ],
)
def test_what_is_only_starting_after_up_is_no_trouble(report, monkeypatch, placement, host_seconds, state) -> None:
    lab, _ = report
    (placed,) = lab.target.observe().values()
    there = {} if placement is None else {placed.release: replace(placed, **placement)}
    monkeypatch.setattr(lab.target, "observe", lambda: there)
    engine = {"fraud": ("routing: fraud-6 is not ready",)}
    processes = [process("host", lab, seconds_ago=host_seconds), process("control", lab, seconds_ago=3600)]
    (model,) = Report(lab.world, lambda: engine, lambda: processes, {}, lambda: []).status().models
    assert model.state == state
    assert ("routing" in str(model.notes)) == (state == "trouble")


@pytest.mark.parametrize(("seconds", "warned"), [(5, False), (3600, True)])
def test_a_registry_and_a_router_that_are_only_starting_are_not_warned_of(report, seconds, warned) -> None:
    lab, _ = report
    engine = {"registry": ("MLflow does not answer.",), "fraud": ("routing: the router does not answer",)}
    processes = [process(name, lab, seconds_ago=seconds) for name in ("mlflow", "envoy")]
    status = Report(lab.world, lambda: engine, lambda: processes, {}, lambda: []).status()
    assert bool(status.warnings) == warned
    assert (status.models[0].state == "trouble") == warned


def test_a_model_is_explained_by_its_newest_rollout(report) -> None:
    lab, made = report
    lab.register("7")
    lab.desk.deploy(ref="fraud@7", spec=None, actor=ADA)
    assert made.explain("fraud").id == lab.rollout.id == "fraud-r2"
    with pytest.raises(NotFound):
        made.explain("froud")
