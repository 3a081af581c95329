"""Whole rollouts in virtual time."""

from __future__ import annotations

import inspect
import json
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from lab import ADA, GRACE, MODEL, SPEC, Lab

from serinus import gates
from serinus.core.errors import InvalidInput, Refused
from serinus.core.evidence import ArmCounts
from serinus.core.examination import GateResult, Outcome, VersionDifference
from serinus.core.people import Access, Actor
from serinus.core.rollout import Cause, Phase
from serinus.core.routing import WHOLE
from serinus.engine import Desk, Engine, News, Report
from serinus.judge import reproduce


@pytest.fixture
def serving(lab: Lab) -> Lab:
    """fraud@6 is live with 500 requests a second."""
    lab.live("6")
    lab.per_second = 500
    return lab


def deploy(lab: Lab, version: str, **options) -> None:
    lab.desk.deploy(ref=f"{MODEL}@{version}", spec=None, actor=options.pop("actor", ADA), **options)


def run_to_the_end(lab: Lab, seconds: float = 4 * 3600) -> float:
    return lab.run(seconds, until=lambda: lab.phase.ended)


# --- at once ----------------------------------------------------------------------------------------------


def test_neither_an_order_nor_the_end_of_long_work_waits_for_the_next_tick(lab: Lab) -> None:
    lab.register("6")
    news, stop = News(), threading.Event()
    desk = Desk(lab.world, news)
    engine = Engine(lab.world, news=news)
    loop = threading.Thread(target=engine.run, args=(stop, 600.0))
    loop.start()
    try:
        desk.deploy(ref=f"{MODEL}@6", spec=None, actor=ADA)
        deadline = time.monotonic() + 10
        while not lab.phase.ended and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lab.phase is Phase.PROMOTED, (lab.rollout.status, engine.trouble)
    finally:
        stop.set()
        news.tell()
        loop.join(10)


# --- promoted ---------------------------------------------------------------------------------------------


def test_the_first_version_goes_from_the_gates_to_full_traffic(lab: Lab) -> None:
    lab.live("6")
    lab.everything_agrees_on("6")
    assert [g.outcome for g in lab.rollout.gates].count(Outcome.FAIL) == 0


def test_a_healthy_release_is_promoted_step_by_step_and_everything_agrees(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7", why="new window")
    run_to_the_end(serving)
    assert serving.phase is Phase.PROMOTED, serving.rollout.status
    kinds = serving.kinds()
    order = ["created", "resolved", "built", "canary-500", "canary-5000", "promoting", "promoted"]
    assert [k for k in kinds if k in order] == order
    serving.everything_agrees_on("7")
    assert "challenger" not in serving.registry.alias[MODEL]
    assert serving.fleet.commits[-1] == (MODEL, "ada", "new window")


def test_a_release_without_a_single_error_is_promoted_soon_after_its_minimums(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    seconds = run_to_the_end(serving)
    assert serving.phase is Phase.PROMOTED
    # 5,100 clean requests clear an error budget of 0.1 %: at 5 % of 500 a second that is 204 s.
    assert seconds < 60 * 60


def test_the_champion_before_stays_placed_for_a_rollback(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    run_to_the_end(serving)
    serving.run(5)
    assert sorted(r.version for r in serving.target.placed.values()) == ["6", "7"]


# --- aborted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "metric"),
    [
        ({"errors": 0.02}, "errors"),
        ({"errors": 1.0}, "errors"),
        ({"slow": 0.08}, "slow"),
        ({"alerts": 0.03}, "alerts"),
        ({"missing": 0.05}, "missing"),
    ],
)
def test_a_release_that_does_worse_is_rolled_back_and_stays_out(serving: Lab, fault: dict, metric: str) -> None:
    serving.register("7", **fault)
    deploy(serving, "7")
    run_to_the_end(serving)
    status = serving.rollout.status
    assert (status.phase, status.cause) == (Phase.ABORTED, Cause.JUDGE)
    assert metric in status.reason
    serving.run(5)
    serving.everything_agrees_on("6")
    assert "challenger" not in serving.registry.alias[MODEL]
    assert [r.version for r in serving.target.placed.values()] == ["6"]


def test_a_verdict_can_be_computed_again_from_what_was_stored(serving: Lab) -> None:
    serving.register("7", errors=0.02)
    deploy(serving, "7")
    run_to_the_end(serving)
    rollout = serving.rollout
    assert rollout.plan is not None
    stored = rollout.steps[-1].assessment
    assert stored is not None
    again = reproduce(rollout.plan.policy, rollout.plan.steps, stored)
    assert (again.verdict, again.reason) == (stored.verdict, stored.reason)


def test_a_version_whose_pickle_imports_a_shell_is_stopped_before_anything_is_loaded(serving: Lab) -> None:
    serving.register("7", pickles=("posix.system",))
    deploy(serving, "7")
    run_to_the_end(serving)
    assert serving.rollout.status.cause is Cause.GATE
    assert serving.rollout.candidate is None
    assert "posix.system" in serving.rollout.status.reason


def test_a_version_of_worse_quality_is_stopped_at_the_gate(serving: Lab) -> None:
    serving.register("7", recall=0.4)
    deploy(serving, "7")
    run_to_the_end(serving)
    status = serving.rollout.status
    assert (status.phase, status.cause) == (Phase.ABORTED, Cause.GATE)
    assert "quality" in status.reason
    serving.everything_agrees_on("6")


def test_a_version_that_does_not_load_is_stopped_with_the_reason(serving: Lab) -> None:
    serving.register("7", loads=False)
    deploy(serving, "7")
    run_to_the_end(serving)
    assert serving.rollout.status.cause is Cause.LOAD
    assert "ImportError" in serving.rollout.status.reason


def in_canary(lab: Lab, version: str) -> None:
    lab.register(version)
    deploy(lab, version)
    lab.run(3600, until=lambda: lab.phase is Phase.CANARY)
    lab.run(30)
    assert lab.phase is Phase.CANARY, lab.rollout.status


def test_a_canary_whose_workers_crash_again_and_again_is_aborted_although_its_answers_are_as_good(serving: Lab) -> None:
    in_canary(serving, "7")
    serving.target.crashes["7"] = 4
    serving.run(5)
    assert serving.phase is Phase.CANARY
    serving.target.crashes["7"] = 5
    run_to_the_end(serving, 60)
    status = serving.rollout.status
    assert (status.phase, status.cause) == (Phase.ABORTED, Cause.CRASHES)
    assert status.reason.startswith("5 workers in a row ended soon after they were started")
    serving.everything_agrees_on("6")


def test_where_the_workers_of_the_champion_crash_as_well_the_canary_is_judged_by_its_answers(serving: Lab) -> None:
    in_canary(serving, "7")
    serving.target.crashes.update({"6": 5, "7": 9})
    run_to_the_end(serving)
    assert serving.phase is Phase.PROMOTED, serving.rollout.status


# --- held -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_canary_without_traffic_holds_and_is_never_promoted(lab: Lab) -> None:
    lab.live("6")
    lab.register("7")
    deploy(lab, "7")
    lab.run(1800)
    assert lab.phase is Phase.CANARY
    assert lab.rollout.status.hold
    assert lab.weights() == {"6": 9500, "7": 500}
    run_to_the_end(lab)
    assert lab.rollout.status.cause is Cause.PATIENCE
    lab.run(5)
    lab.everything_agrees_on("6")


def of_few_entities(lab: Lab, monkeypatch: pytest.MonkeyPatch, entities: int, *, drawn: int) -> None:
    """So many ask, and in the first `drawn` splits all of them are the champion's."""
    counts, seen = lab.log.counts_of_all, dict[str, None]()

    def counted(splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        found, candidate = counts(splits), lab.rollout.candidate
        seen.update(dict.fromkeys(splits))
        without = list(seen)[:drawn]
        return {
            split: {
                release: replace(arm, first_in_step={**arm.first_in_step, "entities": entities})
                for release, arm in arms.items()
                if candidate is None or release != candidate.id
            }
            if split in without
            else arms
            for split, arms in found.items()
        }

    monkeypatch.setattr(lab.log, "counts_of_all", counted)


def test_a_canary_whose_share_of_few_entities_has_none_says_so(serving: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    serving.register("7")
    deploy(serving, "7")
    of_few_entities(serving, monkeypatch, 20, drawn=1)
    serving.run(600, until=lambda: serving.phase is Phase.CANARY)
    serving.run(60)
    assert serving.rollout.status.hold.startswith(
        "no request has reached the canary: none of the 20 entities that have asked is among the 5% of entities"
    )


def test_a_canary_that_none_of_few_entities_reaches_gets_another_share_of_them(
    serving: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.register("7")
    deploy(serving, "7")
    of_few_entities(serving, monkeypatch, 20, drawn=2)
    serving.run(600, until=lambda: serving.phase is Phase.CANARY)
    first, since = serving.router.routings[MODEL], serving.rollout.status.since
    serving.run(590)
    assert serving.router.routings[MODEL] == first
    serving.run(30)
    second = serving.router.routings[MODEL]
    assert second.split != first.split
    assert second.salt != first.salt
    assert [arm.weight for arm in second.arms] == [arm.weight for arm in first.arms]
    serving.run(610)
    third = serving.router.routings[MODEL]
    assert len({first.salt, second.salt, third.salt}) == 3
    assert (serving.rollout.status.step, serving.rollout.status.since) == (0, since), "its patience goes on"
    assert len(serving.rollout.steps) == 1
    told = [event.text for event in serving.store.events(model=MODEL, limit=1000) if event.kind == "share-drawn-again"]
    assert (
        told
        == [
            "the canary of fraud@7 gets other entities, because none of those that asked was in its share",
        ]
        * 2
    )
    run_to_the_end(serving)
    assert serving.phase is Phase.PROMOTED


def test_hours_in_which_serinus_was_stopped_do_not_use_up_the_patience_of_a_step_that_is_drawn_again(
    serving: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.register("7")
    deploy(serving, "7")
    of_few_entities(serving, monkeypatch, 20, drawn=2)
    serving.run(600, until=lambda: serving.phase is Phase.CANARY)
    first = serving.router.routings[MODEL]
    serving.run(60)
    serving.clock.time += timedelta(hours=3)  # three times `at_most`
    serving.run(600)
    assert serving.router.routings[MODEL].salt != first.salt
    assert serving.phase is Phase.CANARY, serving.rollout.status
    assert not serving.rollout.status.extended
    run_to_the_end(serving)
    assert serving.phase is Phase.PROMOTED


def test_a_canary_waits_for_its_share_where_ever_new_entities_ask(
    serving: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.register("7")
    deploy(serving, "7")
    of_few_entities(serving, monkeypatch, 10_000_000, drawn=1)
    serving.run(600, until=lambda: serving.phase is Phase.CANARY)
    first = serving.router.routings[MODEL]
    serving.run(1200)
    assert serving.router.routings[MODEL] == first


def test_a_prediction_log_that_is_away_holds_the_canary(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    serving.run(20)
    serving.log.blind = True
    serving.run(600)
    assert serving.phase is Phase.CANARY
    assert serving.rollout.status.hold
    serving.log.blind = False
    run_to_the_end(serving)
    assert serving.phase is Phase.PROMOTED


def test_a_registry_that_is_away_neither_stops_serving_nor_a_canary(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    serving.run(20)
    serving.registry.away = True
    run_to_the_end(serving, 1200)
    assert serving.weights() == {"7": WHOLE}
    assert serving.phase is Phase.PROMOTING
    serving.registry.away = False
    run_to_the_end(serving)
    serving.everything_agrees_on("7")


# --- orders -----------------------------------------------------------------------------------------------


def test_an_abort_by_a_person_brings_the_champion_back(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    serving.run(20)
    assert serving.phase is Phase.CANARY
    serving.desk.order(serving.rollout.id, "abort", actor=ADA, why="wrong file")
    run_to_the_end(serving)
    assert serving.rollout.status.cause is Cause.OPERATOR
    assert "wrong file" in serving.rollout.status.reason
    serving.everything_agrees_on("6")


def test_a_second_deployment_is_refused_with_the_choices(serving: Lab) -> None:
    serving.register("7")
    serving.register("8")
    deploy(serving, "7")
    serving.run(20)
    with pytest.raises(Refused, match=r"abort.*--supersede"):
        deploy(serving, "8")


def test_a_deployment_that_supersedes_takes_the_place_of_the_one_in_flight(serving: Lab) -> None:
    serving.register("7")
    serving.register("8")
    deploy(serving, "7")
    serving.run(20)
    deploy(serving, "8", supersede=True)
    serving.run(10)
    ended = serving.store.rollouts(MODEL)[1]
    assert (ended.version, ended.status.cause) == ("7", Cause.SUPERSEDED)
    assert serving.rollout.version == "8"
    run_to_the_end(serving)
    serving.everything_agrees_on("8")


def test_an_approval_is_waited_for_and_who_asked_cannot_give_it(serving: Lab) -> None:
    serving.register("7")
    spec = SPEC.replace("rollout:", "rollout:\n  approval: required")
    serving.desk.deploy(ref=f"{MODEL}@7", spec=spec, actor=Actor("grace", Access.APPROVE))
    serving.run(30)
    assert serving.phase is Phase.APPROVAL
    assert serving.weights() == {"6": WHOLE}
    with pytest.raises(Refused, match="another person"):
        serving.desk.order(serving.rollout.id, "approve", actor=GRACE)
    with pytest.raises(Refused, match="role approve"):
        serving.desk.order(serving.rollout.id, "approve", actor=ADA)
    serving.desk.order(serving.rollout.id, "approve", actor=Actor("linus", Access.APPROVE))
    serving.run(10)
    assert serving.phase is Phase.CANARY
    assert serving.rollout.approved_by == "linus"


def test_a_deployment_of_what_is_live_does_nothing_and_says_so(serving: Lab) -> None:
    done = serving.desk.deploy(ref=f"{MODEL}@6", spec=None, actor=ADA)
    assert done.done
    assert "nothing to do" in done.message
    assert serving.store.in_flight() == []


# --- rolled back ------------------------------------------------------------------------------------------


def test_a_rollback_goes_to_the_champion_before_at_once(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    run_to_the_end(serving)
    serving.desk.rollback(MODEL, to=None, actor=ADA, why="chargebacks rise")
    assert serving.run(10, until=lambda: serving.phase.ended) <= 10
    serving.everything_agrees_on("6")
    assert serving.fleet.commits[-1] == (MODEL, "ada", "chargebacks rise")


def test_a_rollback_wakes_the_champion_before_and_sends_it_traffic_only_then(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    run_to_the_end(serving)
    serving.target.at_zero.add("6")
    serving.desk.rollback(MODEL, to=None, actor=ADA, why="chargebacks rise")
    up_when_routed = []

    def ended() -> bool:
        if serving.routed_to("6"):
            up_when_routed.append("6" not in serving.target.at_zero)
        return serving.phase.ended

    assert serving.run(10, until=ended) <= 10
    assert up_when_routed
    assert all(up_when_routed)
    assert sum(act.startswith("activate ") for act in serving.target.history) == 1
    serving.everything_agrees_on("6")


def test_a_champion_that_is_scaled_to_zero_stays_routed_and_is_no_trouble(serving: Lab) -> None:
    serving.target.at_zero.add("6")
    serving.run(10)
    assert not serving.engine.trouble
    assert serving.routed_to("6")
    assert not any(act.startswith("activate ") for act in serving.target.history)


def test_a_rollback_ends_the_canary_that_is_in_flight(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    run_to_the_end(serving)
    serving.register("8")
    deploy(serving, "8")
    serving.run(20)
    serving.desk.rollback(MODEL, to=None, actor=ADA, why="emergency")
    assert serving.run(10, until=lambda: serving.champion == "6" and serving.phase.ended) <= 10
    serving.everything_agrees_on("6")


def test_a_version_that_was_rolled_back_needs_a_reason_to_be_deployed_again(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    run_to_the_end(serving)
    serving.desk.rollback(MODEL, to=None, actor=ADA, why="chargebacks rise")
    serving.run(10)
    with pytest.raises(Refused, match="--reason"):
        deploy(serving, "7")
    deploy(serving, "7", why="the feed is mended")
    run_to_the_end(serving)
    serving.everything_agrees_on("7")


def test_a_second_rollback_does_not_put_back_what_was_just_rolled_back_from(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    run_to_the_end(serving)
    first = serving.desk.rollback(MODEL, to=None, actor=ADA, why="chargebacks rise")
    again = serving.desk.rollback(MODEL, to=None, actor=GRACE, why="chargebacks rise")
    assert again.rollout == first.rollout
    serving.run(10, until=lambda: serving.phase.ended)
    with pytest.raises(Refused, match="no former champion"):
        serving.desk.rollback(MODEL, to=None, actor=GRACE, why="chargebacks rise")
    serving.everything_agrees_on("6")
    by_name = serving.desk.rollback(MODEL, to="7", actor=GRACE, why="it was the feed")
    assert f"which was rolled back from in {first.rollout}" in by_name.message
    serving.run(10, until=lambda: serving.phase.ended)
    serving.everything_agrees_on("7")


def test_a_rollback_to_a_release_that_waits_for_an_approval_is_refused(serving: Lab) -> None:
    serving.register("7")
    spec = SPEC.replace("rollout:", "rollout:\n  approval: required")
    serving.desk.deploy(ref=f"{MODEL}@7", spec=spec, actor=ADA)
    serving.run(60, until=lambda: serving.phase is Phase.APPROVAL)
    for wanted in (serving.rollout.candidate.id, "7"):
        with pytest.raises(Refused, match="never the champion: it waits for an approval"):
            serving.desk.rollback(MODEL, to=wanted, actor=ADA)
    serving.run(10)
    assert serving.champion == "6"
    assert serving.phase is Phase.APPROVAL


def test_a_rollback_to_a_release_that_failed_a_gate_is_refused_with_the_gate(serving: Lab) -> None:
    serving.register("7", recall=0.0)
    deploy(serving, "7")
    run_to_the_end(serving)
    assert serving.phase is Phase.ABORTED
    with pytest.raises(Refused, match="it failed the gate quality"):
        serving.desk.rollback(MODEL, to=serving.rollout.candidate.id, actor=ADA)
    serving.everything_agrees_on("6")


# --- approval is a policy of the model -----------------------------------------------------------------------


def approval_asked_for(lab: Lab) -> None:
    """By the spec of a version that is then stopped."""
    lab.register("7")
    lab.desk.deploy(ref=f"{MODEL}@7", spec=SPEC.replace("rollout:", "rollout:\n  approval: required"), actor=ADA)
    lab.run(60, until=lambda: lab.phase is Phase.APPROVAL)
    lab.desk.order(MODEL, "abort", actor=ADA)
    lab.run(10, until=lambda: lab.phase.ended)


def test_a_spec_that_leaves_the_approval_out_does_not_take_it_away(serving: Lab) -> None:
    approval_asked_for(serving)
    serving.register("8")
    serving.desk.deploy(ref=f"{MODEL}@8", spec=SPEC, actor=ADA)
    run_to_the_end(serving, 300)
    assert serving.phase is Phase.APPROVAL
    serving.desk.order(MODEL, "approve", actor=GRACE)
    run_to_the_end(serving)
    serving.everything_agrees_on("8")
    texts = [e.text for e in serving.store.events(model=MODEL, limit=1000) if e.rollout == serving.rollout.id]
    assert any("approved by grace" in text for text in texts)
    serving.register("9")
    deploy(serving, "9")
    run_to_the_end(serving, 300)
    assert serving.phase is Phase.APPROVAL


def test_the_approval_that_a_home_before_this_policy_asked_for_holds_for_its_own_removal(serving: Lab) -> None:
    serving.fleet.specs[MODEL] = SPEC.replace("rollout:", "rollout:\n  approval: required")
    serving.register("7")
    serving.desk.deploy(ref=f"{MODEL}@7", spec=SPEC, actor=ADA)
    run_to_the_end(serving, 300)
    assert serving.phase is Phase.APPROVAL


def test_a_policy_that_was_loosened_asks_for_no_approval_any_more(serving: Lab) -> None:
    approval_asked_for(serving)
    with pytest.raises(Refused, match="role approve"):
        serving.desk.set_approval(MODEL, False, actor=ADA)
    assert "still requires one" in serving.desk.set_approval(MODEL, False, actor=GRACE, why="agreed")
    serving.register("8")
    serving.desk.deploy(ref=f"{MODEL}@8", spec=SPEC, actor=ADA)
    run_to_the_end(serving)
    serving.everything_agrees_on("8")


def test_a_deployment_that_is_not_needed_or_refused_keeps_no_spec(serving: Lab) -> None:
    before = serving.fleet.read(MODEL)
    looser = SPEC.replace("25%", "9%")
    done = serving.desk.deploy(ref=f"{MODEL}@6", spec=looser, actor=ADA)
    assert done.done
    assert "the spec in this request is not kept" in done.message
    serving.register("7")
    deploy(serving, "7")
    with pytest.raises(Refused, match="in flight"):
        serving.desk.deploy(ref=f"{MODEL}@7", spec=looser, actor=ADA)
    assert serving.fleet.read(MODEL) == before


# --- aliases ----------------------------------------------------------------------------------------------


def test_setting_the_alias_challenger_deploys_by_itself(serving: Lab) -> None:
    serving.register("7")
    serving.registry.alias[MODEL]["challenger"] = "7"
    run_to_the_end(serving)
    serving.run(10, until=lambda: serving.rollout.version == "7")
    run_to_the_end(serving)
    serving.everything_agrees_on("7")


def test_a_version_that_makes_its_reader_fail_is_told_once_and_not_read_again(
    serving: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.register("7")
    read: list[str] = []

    def fails(model: str, version: str) -> None:
        read.append(version)
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(serving.engine._aliases, "_deploy", fails)
    serving.registry.alias[MODEL]["challenger"] = "7"
    serving.run(60)
    told = [event.text for event in serving.store.events(model=MODEL, limit=100) if event.kind == "challenger-refused"]
    assert told == ["Version 7 cannot be read: RecursionError, see logs/control.log."]
    assert read == ["7"]


def test_an_aborted_version_stays_out_through_restarts_polls_and_its_alias(serving: Lab) -> None:
    serving.register("7", errors=0.05)
    serving.registry.alias[MODEL]["challenger"] = "7"
    serving.run(1200, until=lambda: serving.rollout.version == "7" and serving.phase.ended)
    assert serving.phase is Phase.ABORTED
    serving.restart()
    serving.run(30)
    serving.registry.alias[MODEL]["challenger"] = "7"
    serving.run(30)
    assert len([r for r in serving.store.rollouts(MODEL) if r.version == "7"]) == 1
    assert "challenger-was-aborted" in [e.kind for e in serving.store.events(model=MODEL, limit=1000)]
    serving.behaviours["7"].errors = 0.0
    deploy(serving, "7", why="the fault was in the network")
    run_to_the_end(serving)
    serving.everything_agrees_on("7")


def test_aliases_that_a_registry_held_before_are_no_commands(lab: Lab) -> None:
    lab.register("5")
    lab.registry.alias[MODEL] = {"challenger": "5"}
    lab.run(30)
    assert lab.store.rollouts(MODEL) == []


def test_a_registry_that_is_away_is_told_for_the_fleet_and_troubles_no_model_at_rest(serving: Lab) -> None:
    serving.registry.away = True
    serving.run(12)
    assert "registry" in serving.engine.trouble
    assert MODEL not in serving.engine.trouble
    assert not serving.engine.registry_answers
    serving.registry.away = False
    serving.run(2)
    assert serving.engine.trouble == {}, "what is over is not told for long"
    assert serving.engine.registry_answers


def test_a_registry_that_refuses_to_list_its_models_stops_no_rollout(serving: Lab, monkeypatch) -> None:
    """As something else does that listens in its place."""

    def refuse() -> None:
        raise InvalidInput("the registry refuses this")

    serving.register("7")
    deploy(serving, "7")
    serving.run(20)
    monkeypatch.setattr(serving.registry, "aliases", refuse)
    serving.run(600)
    assert serving.weights() == {"7": WHOLE}
    assert "refuses this" in serving.engine.trouble["registry"][0]
    monkeypatch.undo()
    run_to_the_end(serving)
    serving.everything_agrees_on("7")


def test_the_spec_says_how_long_predictions_are_kept(lab: Lab) -> None:
    lab.register("6")
    lab.desk.deploy(ref=f"{MODEL}@6", spec=SPEC + "\nretention: {predictions: 30d}\n", actor=ADA)
    assert lab.log.kept == {MODEL: 30}


# --- nothing goes live that was never asked ---------------------------------------------------------------


UNASKED = SPEC + "gates: {evaluation: evaluation.csv, accept: [unasked]}\n"


def with_spec(lab: Lab, text: str) -> None:
    lab.fleet.specs[MODEL] = text.replace("gates: {evaluation: evaluation.csv}\n", "", 1)


def gate(lab: Lab, name: str) -> GateResult:
    [found] = [result for result in lab.rollout.gates if result.gate == name]
    return found


def test_every_gate_is_asked_the_cheap_and_the_dangerous_first(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    serving.run(600, until=lambda: serving.phase is Phase.CANARY)
    asked = [result.gate for result in serving.rollout.gates]
    assert asked == [
        "scan", "signature", "load", "example", "golden", "metamorphic", "asked", "latency", "memory", "quality",
    ]  # fmt: skip
    there = {name for name in gates.__all__ if is_a_gate(getattr(gates, name))}
    assert there - set(asked) == {"parity"}, "which is asked of the graph, and told in the notes"


def is_a_gate(found: object) -> bool:
    return inspect.isfunction(found) and found.__annotations__.get("return") == GateResult.__name__


def test_every_version_is_asked_through_the_router_by_each_protocol_before_it_has_traffic(serving: Lab) -> None:
    serving.register("7")
    deploy(serving, "7")
    serving.run(600, until=lambda: serving.phase is Phase.CANARY)
    assert gate(serving, "asked").outcome is Outcome.PASS
    assert serving.rollout.candidate is not None
    probe = f"/sockets/probe-{serving.rollout.candidate.id}"
    asked = [protocol for address, protocol in serving.scorer.asked if address == probe]
    assert asked == ["open-inference", "grpc", "invocations"]
    assert serving.router.probed == {}


@pytest.mark.parametrize("protocol", ["open-inference", "grpc", "invocations"])
@pytest.mark.parametrize("fault", ["silent", "otherwise"])
def test_one_protocol_that_does_not_answer_as_the_model_stops_it(serving: Lab, protocol: str, fault: str) -> None:
    serving.register("7", **{fault: (protocol,)})
    deploy(serving, "7")
    run_to_the_end(serving)
    status = serving.rollout.status
    assert (status.phase, status.cause) == (Phase.ABORTED, Cause.GATE)
    assert status.reason.startswith("gate asked failed:")
    assert protocol in status.reason
    assert serving.router.probed == {}
    serving.everything_agrees_on("6")


def test_a_version_that_cannot_be_asked_waits_for_unasked_and_everybody_can_read_it(lab: Lab) -> None:
    lab.register("6", asked=False)
    deploy(lab, "6")
    run_to_the_end(lab)
    assert lab.rollout.status.cause is Cause.GATE
    assert "gate asked could not decide: The model could not be asked" in lab.rollout.status.reason
    assert "gates.accept: [unasked]" in lab.rollout.status.reason
    assert MODEL not in lab.router.routings

    with_spec(lab, UNASKED)
    deploy(lab, "6", why="its inputs are made by the caller's own code")
    run_to_the_end(lab)
    assert lab.phase is Phase.PROMOTED
    assert gate(lab, "asked").outcome is Outcome.INCONCLUSIVE
    report = Report(lab.world, dict, list, {}, list)
    [shown] = report.status().models
    assert any("without being asked" in note for note in shown.notes)
    explained = report.explain(lab.rollout.id)
    assert any(result.gate == "asked" and "could not be asked" in result.summary for result in explained.gates)


def test_the_note_is_gone_with_the_next_version_that_was_asked(lab: Lab) -> None:
    with_spec(lab, UNASKED)
    lab.live("6", asked=False)
    assert lab.store.model(MODEL).notes
    lab.per_second = 500
    lab.register("7")
    deploy(lab, "7")
    run_to_the_end(lab)
    assert (lab.phase, lab.store.model(MODEL).notes) == (Phase.PROMOTED, ())


def test_a_router_that_is_away_during_the_gates_is_waited_for(lab: Lab) -> None:
    lab.register("6")
    lab.router.away = True
    deploy(lab, "6")
    lab.run(60)
    assert lab.phase is Phase.GATES
    lab.router.away = False
    run_to_the_end(lab)
    assert lab.phase is Phase.PROMOTED


def test_a_version_slower_than_its_timeout_is_refused_before_traffic(serving: Lab) -> None:
    serving.register("7", seconds=0.4)
    deploy(serving, "7")
    run_to_the_end(serving)
    assert serving.rollout.status.cause is Cause.GATE
    assert "serving.timeout: 600ms" in serving.rollout.status.reason
    assert serving.weights() == {"6": WHOLE}


def test_a_version_with_another_library_than_it_was_logged_with_waits_until_that_is_accepted(serving: Lab) -> None:
    other = (VersionDifference("scikit-learn", "1.5.2", "1.7.0", own=True),)
    serving.register("7", versions=other)
    deploy(serving, "7")
    run_to_the_end(serving)
    assert "gate load could not decide" in serving.rollout.status.reason
    assert "scikit-learn 1.5.2; 1.7.0 is installed" in serving.rollout.status.reason
    with_spec(serving, SPEC + "gates: {evaluation: evaluation.csv, accept: [inconclusive-load]}\n")
    deploy(serving, "7", why="tried by hand")
    run_to_the_end(serving)
    assert serving.phase is Phase.PROMOTED


def test_a_window_over_the_rows_is_refused_unless_that_is_declared(lab: Lab) -> None:
    lab.register("6", answers=1)
    deploy(lab, "6")
    run_to_the_end(lab)
    assert lab.rollout.status.cause is Cause.GATE
    assert gate(lab, "asked").outcome is Outcome.FAIL
    assert "serving.rows: together" in gate(lab, "asked").summary


def test_rows_that_belong_together_are_never_asked_in_part(lab: Lab) -> None:
    with_spec(lab, SPEC + "serving: {rows: together}\ngates: {evaluation: evaluation.csv}\n")
    lab.live("6")
    assert lab.rollout.candidate is not None
    assert lab.rollout.candidate.settings.rows == "together"
    past_the_router = f"/sockets/{lab.rollout.candidate.id}"
    # The golden rows and the evaluation rows whole, and the probe's rows, each as one request.
    sizes = {size for address, size in lab.scorer.sizes if address == past_the_router}
    assert sizes == {20, 400}
    assert [check["transformation"] for check in gate(lab, "metamorphic").evidence["checks"]] == ["the same row twice"]


def test_a_file_without_rows_does_not_keep_the_gates_from_asking_others(lab: Lab) -> None:
    lab.register("6")
    empty = {"columns": ["a", "b"], "rows": [], "scores": []}
    (lab.registry.files / "6" / "golden.json").write_text(json.dumps(empty))
    with_spec(lab, SPEC + "gates: {evaluation: evaluation.csv}\n")
    deploy(lab, "6")
    run_to_the_end(lab)
    assert gate(lab, "golden").summary == "50 rows are served the score that the model's own predict gives them."
    assert {gate(lab, name).outcome for name in ("golden", "metamorphic", "latency")} == {Outcome.PASS}


def test_labels_in_place_of_scores_never_go_live(lab: Lab) -> None:
    lab.register("6", labels=True)
    deploy(lab, "6")
    run_to_the_end(lab)
    assert lab.rollout.status.cause is Cause.GATE
    assert "answers labels, not scores" in lab.rollout.status.reason
