"""Single looks: which verdict, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from serinus.core.rollout import Policy, Step
from serinus.core.values import ArmCounts, Verdict
from serinus.judge import StepEvidence, assess, reproduce, required

STEPS = (Step(500, 2000, 60.0, 600.0), Step(5000, 2000, 60.0, 600.0))
POLICY = Policy()


def look(champion: ArmCounts | None, canary: ArmCounts | None, elapsed: float = 120.0, **changes):
    given = {"policy": POLICY, "steps": STEPS, "index": 0, "history": (), "memory": {}, **changes}
    weight = given["steps"][given["index"]].weight
    return assess(now=StepEvidence(weight, champion, canary), elapsed=elapsed, **given)


def of(assessment, name):
    return next(metric for metric in assessment.metrics if metric["name"] == name)


def test_a_healthy_canary_is_promoted_with_every_metric_cleared(counts) -> None:
    seen = look(counts("v1", 190_000, slow=1900, alerts=950), counts("v2", 10_000, slow=100, alerts=50))
    assert seen.verdict is Verdict.PROMOTE
    assert {metric["state"] for metric in seen.metrics} == {"cleared"}
    assert seen.needs == ""
    assert "10,000 canary requests" in seen.reason


def test_an_abort_names_metric_counts_ratio_and_e_value(counts) -> None:
    seen = look(
        counts("v1", 40_201, errors=3, slow=402, alerts=200), counts("v2", 2_104, errors=37, slow=21, alerts=10)
    )
    assert seen.verdict is Verdict.ABORT
    assert seen.reason.startswith("errors: 37 of 2,104 canary requests against 3 of 40,201 of the champion (ratio 234")
    assert "tolerated up to 1.5" in seen.reason
    assert "bound 1,000" in seen.reason
    assert of(seen, "errors")["e_bad"] >= 1000


def test_before_the_minimums_the_judge_continues_and_says_what_is_to_come(counts) -> None:
    seen = look(counts("v1", 9_500, slow=95, alerts=48), counts("v2", 500, slow=5, alerts=2), elapsed=20.0)
    assert seen.verdict is Verdict.CONTINUE
    assert "1,500 more requests answered by the canary (of at least 2,000)" in seen.needs
    assert "40 more seconds (of at least 60)" in seen.needs
    assert "about 4,200 more canary requests to clear errors, fallbacks, missing" in seen.needs


def test_after_the_minimums_what_is_not_shown_holds(counts) -> None:
    seen = look(counts("v1", 40_000, slow=400, alerts=200), counts("v2", 2_100, slow=21, alerts=10))
    assert seen.verdict is Verdict.HOLD
    assert "errors" in seen.reason
    assert of(seen, "errors")["needs"] == pytest.approx(2_600, abs=50)


@pytest.mark.parametrize("missing", ["champion", "canary", "both"])
def test_missing_counts_hold(counts, missing: str) -> None:
    champion = None if missing in ("champion", "both") else counts("v1", 190_000)
    canary = None if missing in ("canary", "both") else counts("v2", 10_000)
    seen = look(champion, canary)
    assert seen.verdict is Verdict.HOLD
    assert "waiting for counts of the" in seen.reason
    assert seen.needs


def test_an_arm_without_traffic_holds(counts) -> None:
    assert look(counts("v1", 1000), counts("v2", 0)).reason == "the canary has had no requests"
    idle = look(counts("v1", 0), counts("v2", 9000))
    assert (idle.verdict, idle.reason) == (Verdict.HOLD, "the champion has had no requests to compare with")


def test_requests_that_were_not_answered_do_not_count_towards_the_minimum(counts) -> None:
    champion = replace(counts("v1", 190_000, slow=1900, alerts=950), answered=38_000)
    canary = replace(counts("v2", 10_000, slow=100, alerts=50), answered=1_999)
    assert look(champion, canary).verdict is Verdict.CONTINUE


def test_counts_that_cannot_be_true_hold(counts) -> None:
    good = look(counts("v1", 40_000, slow=400), counts("v2", 2_100, slow=21))
    back = look(counts("v1", 40_000, slow=400), counts("v2", 2_100, slow=20), memory=good.memory)
    assert back.verdict is Verdict.HOLD
    assert "higher at the last look" in back.reason
    again = look(counts("v1", 40_000, slow=400), counts("v2", 2_100, slow=21), memory=back.memory)
    assert of(again, "slow")["e_bad"] == of(good, "slow")["e_bad"]
    assert "negative" in look(counts("v1", 40_000), counts("v2", 10, errors=-1)).reason
    assert "more answers" in look(counts("v1", 9), replace(counts("v2", 10), answered=11)).reason


def test_a_split_that_is_not_in_force_holds_whatever_else_is_seen(counts) -> None:
    champion, canary = counts("v1", 180_000, entities=9_000), counts("v2", 20_000, entities=1_000, errors=500)
    seen = look(champion, canary)
    assert seen.verdict is Verdict.HOLD
    assert "10.00%, where 5.00% were asked for" in seen.reason


def test_a_canary_that_refuses_what_the_champion_answers_holds(counts) -> None:
    champion = replace(counts("v1", 190_000, slow=1900, alerts=950), answered=189_990)
    canary = replace(counts("v2", 10_000, slow=100, alerts=50), answered=9_500)
    seen = look(champion, canary)
    assert seen.verdict is Verdict.HOLD
    assert "refuses 500 of 10,000 requests as the caller's mistake, the champion 10 of 190,000" in seen.reason
    both = look(replace(champion, answered=180_500), canary)
    assert both.verdict is Verdict.PROMOTE, "callers who are wrong on both arms are no fault of the canary"


def test_refused_requests_clear_nothing(counts) -> None:
    refusing = replace(counts("v2", 10_000), answered=100)
    assert of(look(counts("v1", 190_000), refusing), "errors")["canary"]["of"] == 100


def test_a_metric_that_happens_on_neither_arm_is_cleared_by_exposure(counts) -> None:
    quiet = look(counts("v1", 190_000), counts("v2", 10_000))
    assert quiet.verdict is Verdict.PROMOTE


def test_a_release_that_has_fallen_silent_is_not_promoted_and_then_aborted(counts) -> None:
    silent = look(counts("v1", 38_000, slow=380, alerts=190), counts("v2", 6_000, entities=2_000, slow=20))
    assert silent.verdict is Verdict.HOLD
    assert "fewer-alerts" in silent.reason
    silent = look(counts("v1", 38_000, slow=380, alerts=400), counts("v2", 2_000, slow=20))
    assert silent.verdict is Verdict.ABORT
    assert silent.reason.startswith("fewer-alerts: 0 of 2,000 canary requests against 400 of 38,000")
    assert "tolerated down to 0.5" in silent.reason


def test_without_a_threshold_alerts_are_not_judged_and_the_verdict_says_so(counts) -> None:
    seen = look(counts("v1", 190_000, slow=1900), counts("v2", 10_000, slow=100), policy=Policy(alerts=None))
    assert seen.verdict is Verdict.PROMOTE
    assert of(seen, "alerts")["summary"] == "alerts: not judged, no alert threshold is known"
    assert of(seen, "fewer-alerts")["state"] == "not judged"


def test_at_full_traffic_what_needs_a_comparison_is_not_judged(counts) -> None:
    steps = (Step(10_000, 100, 1.0, 600.0),)
    seen = look(None, counts("v2", 10_000, slow=100, alerts=50), steps=steps)
    assert seen.verdict is Verdict.PROMOTE
    assert (of(seen, "errors")["state"], of(seen, "alerts")["state"]) == ("cleared", "not judged")


def test_an_arm_that_answers_nothing_is_aborted_within_fifty_requests(counts) -> None:
    assert look(counts("v1", 500), counts("v2", 26, errors=26), elapsed=1.0).verdict is Verdict.ABORT


def test_one_stall_of_a_worker_aborts_nothing_but_a_second_one_counts(counts) -> None:
    stalled = look(counts("v1", 19_000), counts("v2", 1_000, errors=15), elapsed=3.0)
    assert stalled.verdict is Verdict.CONTINUE
    assert of(stalled, "errors")["e_bad"] > 1000 > of(stalled, "errors")["e_bad_without_burst"]
    later = look(counts("v1", 38_000), counts("v2", 2_000, errors=15), elapsed=6.0, memory=stalled.memory)
    assert later.verdict is Verdict.CONTINUE
    again = look(counts("v1", 39_000), counts("v2", 2_050, errors=25), elapsed=7.0, memory=later.memory)
    assert again.verdict is Verdict.ABORT


def test_a_stall_of_an_earlier_step_does_not_abort_a_later_one(counts) -> None:
    champion, canary = counts("v1", 19_000), counts("v2", 1_000, errors=15)
    first = look(champion, canary, elapsed=3.0)
    history = [StepEvidence(500, champion, canary)]
    second = look(counts("v1", 50), counts("v2", 50), elapsed=1.0, index=1, history=history, memory=first.memory)
    assert second.verdict is Verdict.CONTINUE


def test_evidence_against_a_release_is_carried_along_the_steps(counts) -> None:
    history = [StepEvidence(500, counts("v1", 50_000, errors=5), counts("v2", 2_500, errors=4))]
    now = counts("v1", 2_500, errors=1), counts("v2", 2_500, errors=8)
    fresh, carried = look(*now, index=1), look(*now, index=1, history=history)
    assert of(carried, "errors")["e_bad"] > 10 * of(fresh, "errors")["e_bad"]
    assert of(carried, "errors")["e_good"] == of(fresh, "errors")["e_good"]


def test_a_verdict_is_reproduced_from_what_was_stored(counts) -> None:
    history = [StepEvidence(500, counts("v1", 50_000, errors=2, slow=500), counts("v2", 2_500, slow=25))]
    first = look(counts("v1", 500, slow=5), counts("v2", 480, slow=9), elapsed=1.0, index=1, history=history)
    second = look(
        counts("v1", 900, slow=9, errors=1),
        counts("v2", 950, slow=31),
        elapsed=2.0,
        index=1,
        history=history,
        memory=json.loads(json.dumps(first.memory)),
    )
    stored = replace(second, memory=json.loads(json.dumps(second.memory)))
    assert json.loads(json.dumps(second.metrics)) == [dict(metric) for metric in second.metrics]
    again = reproduce(POLICY, STEPS, stored)
    assert (again.verdict, again.reason, again.metrics, again.needs) == (
        second.verdict,
        second.reason,
        second.metrics,
        second.needs,
    )


def test_a_step_says_beforehand_how_many_requests_it_takes() -> None:
    at_5 = {need.metric: need for need in required(POLICY, 500)}
    assert at_5["errors"].to_clear == pytest.approx(4_700, rel=0.01)
    assert at_5["errors"].to_abort < 1_000
    assert at_5["alerts"].to_clear < at_5["alerts"].to_abort < 5_000
    assert "alerts" not in {need.metric for need in required(Policy(alerts=None), 500)}
    at_1, at_50 = ({need.metric: need for need in required(POLICY, weight)} for weight in (100, 5000))
    assert at_1["alerts"].to_clear / 0.01 > at_5["alerts"].to_clear / 0.05 > at_50["alerts"].to_clear / 0.5
