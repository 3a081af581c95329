"""A release that does worse after its promotion, in virtual time: rolled back, told, or left alone."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from lab import ADA, MODEL, OTHER, SPEC, Counter, Killed, Lab, breaking

from serinus.api.metrics import exposition
from serinus.cli.words import watch_lines
from serinus.core.events import Event
from serinus.core.rollout import Kind, Phase
from serinus.engine import Report
from serinus.engine.reconcile.watching import WATCH, stored

pytestmark = pytest.mark.long

HOUR = 3600.0


def told(lab: Lab, kind: str, model: str = MODEL) -> list[Event]:
    return [event for event in lab.store.events(model=model, limit=5000) if event.kind == kind]


def spec(**watch: str) -> str:
    return SPEC + "watch: {" + ", ".join(f"{name}: {value}" for name, value in watch.items()) + "}\n"


def promoted(lab: Lab, *, days_before: int = 0, text: str = SPEC, slow: float = 0.0) -> None:
    """fraud@1, live for half an hour or, with a look every hour, for `days_before` more; then fraud@2 by the canary, by
    the spec `text`. 400 requests a second."""
    lab.fleet.specs[MODEL] = text
    lab.live("1", slow=slow)
    for _ in range(24 * days_before):
        lab.per_second = 40_000
        lab.step()
        lab.clock.time += timedelta(hours=1)
    lab.per_second = 400
    lab.run(0.5 * HOUR)
    lab.register("2", slow=slow)
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(2 * HOUR, until=lambda: lab.phase.ended)
    assert lab.champion == "2", lab.rollout.status


def with_other(lab: Lab) -> None:
    """Another live model, scoring@9."""
    lab.register("9")
    text = SPEC.replace("model: fraud", f"model: {OTHER}")
    lab.desk.deploy(ref=f"{OTHER}@9", spec=text, actor=ADA)
    lab.run(60)


def test_a_release_that_fails_two_hours_after_its_promotion_is_rolled_back(lab: Lab) -> None:
    promoted(lab)
    lab.run(2 * HOUR)
    assert lab.champion == "2"
    lab.behaviours["2"].errors = 0.01
    passed = lab.run(HOUR, until=lambda: lab.champion == "1")
    assert passed <= 120
    lab.run(60)
    lab.everything_agrees_on("1")
    assert (lab.rollout.kind, lab.rollout.actor, lab.phase) == (Kind.ROLLBACK, WATCH, Phase.PROMOTED)
    assert "errors" in lab.rollout.why
    assert "where up to 0.1% is tolerated" in lab.rollout.why
    (event,) = told(lab, "degraded")
    assert event.rollout == f"{MODEL}-r2"
    assert event.text.startswith("fraud@2 has degraded since its promotion: errors: ")
    assert event.text.endswith(
        f"fraud is being rolled back to {lab.rollout.candidate.id if lab.rollout.candidate else ''} as fraud-r3"
    )
    (entry,) = [one for one in lab.store.audit_trail() if one.who == WATCH.name]
    assert (entry.what, entry.subject, entry.origin) == ("rollback", "fraud@1", "engine")
    assert lab.store.audit_broken_at() is None


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"alerts": 0.015}, "alerts: "),
        ({"alerts": 0.0}, "alerts: 0 of"),
        ({"slow": 0.03}, "slow: "),
        ({"missing": 0.01}, "missing: "),
    ],
    ids=["alerts x3", "silent", "slow x3", "missing"],
)
def test_each_metric_is_watched(lab: Lab, worse: dict[str, float], said: str) -> None:
    promoted(lab, days_before=3, slow=0.008)
    lab.run(0.2 * HOUR)
    assert lab.champion == "2"
    for name, value in worse.items():
        setattr(lab.behaviours["2"], name, value)
    lab.run(HOUR, until=lambda: lab.champion == "1")
    assert lab.champion == "1"
    assert said in lab.rollout.why


def test_an_honest_release_stays(lab: Lab) -> None:
    promoted(lab)
    lab.behaviours["2"].errors, lab.behaviours["2"].alerts = 0.0005, 0.006  # within what the spec tolerates
    lab.run(3 * HOUR)
    assert lab.champion == "2"
    assert told(lab, "degraded") == []


def test_what_is_over_within_seconds_is_no_degradation(lab: Lab) -> None:
    promoted(lab)
    for _ in range(5):
        lab.behaviours["2"].errors = 1.0
        lab.run(8)
        lab.behaviours["2"].errors = 0.0
        lab.run(600)
    assert lab.champion == "2"


def test_trouble_of_all_models_is_told_and_not_rolled_back(lab: Lab) -> None:
    promoted(lab)
    with_other(lab)
    lab.run(0.5 * HOUR)
    lab.behaviours["2"].errors = lab.behaviours["9"].errors = 0.3
    lab.run(0.5 * HOUR)
    lab.behaviours["2"].errors = lab.behaviours["9"].errors = 0.0
    lab.run(0.2 * HOUR)
    assert lab.champion == "2"
    (event,) = told(lab, "degraded-everywhere")
    assert "and so have other models at the same time" in event.text
    lab.behaviours["2"].errors = 0.3  # this time alone
    lab.run(0.2 * HOUR, until=lambda: lab.champion == "1")
    assert lab.champion == "1"


def report(lab: Lab) -> Report:
    return Report(lab.world, lambda: lab.engine.trouble, list, {}, list)


def test_people_are_told_of_it(lab: Lab) -> None:
    promoted(lab, text=spec(on_degradation="tell"))
    lab.run(600)
    (model,) = report(lab).status().models
    release = model.champion.release
    assert model.state == "serving"
    assert model.watch.summary.startswith("watched after its promotion until 2026-03-02 ")
    assert [one.name for one in model.watch.metrics] == [
        "errors", "fallbacks", "missing", "slow", "alerts", "fewer-alerts",
    ]  # fmt: skip
    assert next(iter(watch_lines(model.watch))).startswith(f"{release}: watched after its promotion until ")
    lab.behaviours["2"].errors = 0.05
    lab.run(600)
    status = report(lab).status()
    (model,) = status.models
    assert model.state == "trouble"
    (note,) = [one for one in model.notes if "has degraded since its promotion: errors: " in one]
    assert report(lab).explain(release).watch.degraded == [note.partition(": ")[2]]
    assert f'serinus_watch_degraded{{model="fraud",release="{release}"}} 1.0' in exposition(status).decode()
    lab.clock.time += timedelta(days=1)
    (model,) = report(lab).status().models
    assert (model.watch, model.state) == (None, "serving")


def test_by_the_spec_it_is_only_told(lab: Lab) -> None:
    promoted(lab, text=spec(on_degradation="tell"))
    lab.behaviours["2"].errors = 0.05
    lab.run(2 * HOUR)
    assert lab.champion == "2"
    (event,) = told(lab, "degraded")
    assert event.text.endswith("It is not rolled back: its spec says so (watch.on_degradation: tell)")


@pytest.mark.parametrize("after", ["0s", "1h"])
def test_it_ends_by_the_spec(lab: Lab, after: str) -> None:
    promoted(lab, text=spec(after=after))
    lab.run(1.1 * HOUR)
    lab.behaviours["2"].errors = 0.5
    lab.run(0.5 * HOUR)
    assert lab.champion == "2"
    assert told(lab, "degraded") == []


def test_a_first_release_is_told(lab: Lab) -> None:
    lab.live("1")
    lab.per_second = 400
    lab.run(600)
    lab.behaviours["1"].errors = 0.1
    lab.run(0.5 * HOUR)
    assert lab.champion == "1"
    (event,) = told(lab, "degraded")
    assert event.text.endswith("It is not rolled back: there is no former champion to roll back to")


def test_a_former_champion_whose_files_are_gone_is_told(lab: Lab) -> None:
    promoted(lab)
    lab.target.lost.add("artifact-1")
    lab.behaviours["2"].errors = 0.1
    lab.run(0.5 * HOUR)
    assert lab.champion == "2"
    (event,) = told(lab, "degraded")
    assert "It is not rolled back: the files of" in event.text
    assert [
        entry for entry in lab.store.audit_trail() if entry.what == "promote" and "serinus-watch" in entry.why
    ] == []


@pytest.mark.parametrize("by", ["the watch", "a person"])
def test_it_never_flips_back_and_forth(lab: Lab, by: str) -> None:
    promoted(lab)
    if by == "a person":
        lab.desk.rollback(MODEL, to=None, actor=ADA, why="a feeling")
    else:
        lab.behaviours["2"].errors = 0.1
    lab.run(0.5 * HOUR, until=lambda: lab.champion == "1" and lab.phase.ended)
    lab.behaviours["1"].errors = 0.1
    lab.run(2 * HOUR)
    assert lab.champion == "1"
    assert told(lab, "degraded")[-1].text.endswith(
        "It is not rolled back: it is the target of a rollback: "
        "where two releases in a row degrade, the cause lies outside of them"
    )
    assert len(lab.store.rollouts(MODEL)) == 3


def test_what_a_person_promoted_before_its_time_is_watched(lab: Lab) -> None:
    lab.live("1")
    lab.per_second = 400
    lab.run(0.2 * HOUR)
    lab.register("2")
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(8)
    lab.desk.order(MODEL, "promote", actor=ADA, why="now")
    lab.run(60)
    assert lab.champion == "2"
    lab.behaviours["2"].errors = 0.1
    lab.run(0.5 * HOUR, until=lambda: lab.champion == "1")
    assert lab.champion == "1"


def test_it_watches_the_champion_beside_a_canary(lab: Lab) -> None:
    promoted(lab)
    lab.register("3")
    lab.desk.deploy(ref=f"{MODEL}@3", spec=None, actor=ADA)
    lab.run(20)
    assert lab.phase is Phase.CANARY
    lab.behaviours["2"].errors = 0.1
    lab.run(0.2 * HOUR, until=lambda: lab.champion == "1" and lab.phase.ended)
    lab.everything_agrees_on("1")


def test_the_state_outlives_the_process_and_does_not_grow(lab: Lab) -> None:
    promoted(lab)
    lab.run(600)
    first = lab.store.setting(f"watch.{MODEL}") or ""
    before = stored(lab.world, MODEL)
    lab.restart()
    lab.step()
    after = stored(lab.world, MODEL)
    assert before is not None
    assert after is not None
    assert after.began == before.began
    assert after.baseline == before.baseline
    lab.run(HOUR)
    assert len(lab.store.setting(f"watch.{MODEL}") or "") < 1.3 * len(first) < 12_000
    lab.behaviours["2"].errors = 0.01
    for _ in range(40):  # a new process every look
        if lab.champion == "1":
            break
        lab.run(12)
        lab.restart()
    assert lab.champion == "1"


def test_counts_that_are_not_known_decide_nothing(lab: Lab) -> None:
    promoted(lab)
    lab.behaviours["2"].errors = 0.1
    lab.log.blind = True
    lab.run(0.2 * HOUR)
    lab.log.blind, lab.log.away = False, True
    lab.run(0.2 * HOUR)
    assert lab.champion == "2"
    assert any("the watch after promotion" in line for lines in lab.engine.trouble.values() for line in lines)


def degraded(lab: Lab, counter: Counter) -> Lab:
    """The champion fails after its promotion, and the process is killed where `counter` says."""
    lab.restart(breaking(lab.world, counter))
    lab.behaviours["2"].errors = 0.1
    with suppress(Killed):
        lab.run(300, until=lambda: lab.champion == "1" and lab.phase.ended)
    lab.restart()
    lab.run(300, until=lambda: lab.champion == "1" and lab.phase.ended)
    lab.run(60)
    return lab


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.long
def test_killed_at_any_act_of_the_rollback_it_goes_back_once(directory: Path, after: bool) -> None:
    before = Lab(directory / "before")
    promoted(before)
    whole = Counter(at=0, after=False)
    degraded(before.copied(directory / "whole"), whole)
    audited = whole.calls.index("audit") + 1
    for at in range(audited - 1, audited + 6):  # the decision is stored, told to the audit, and begun
        counter = Counter(at, after)
        lab = degraded(before.copied(directory / str(at)), counter)
        when = f"killed {'after' if after else 'before'} act {at}, {counter.calls[-1:]}"
        assert counter.seen == at, when
        lab.everything_agrees_on("1")
        assert [one.kind for one in lab.store.rollouts(MODEL)].count(Kind.ROLLBACK) == 1, when
        assert told(lab, "degraded"), when
        assert lab.store.in_flight() == [], when
        assert lab.store.audit_broken_at() is None, when
        lab.store.close()
