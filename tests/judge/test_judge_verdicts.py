"""Single looks: which verdict, and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serinus.core.evidence import ArmCounts, Verdict
from serinus.core.rollout import Policy, Step
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
    assert seen.reason == (
        "errors: 37 of 2,104 canary requests (1.76%) against 3 of 40,201 of the champion (0.00746%), tolerated up to "
        "1.5 times the champion's rate and unacceptable from 0.1% of requests. A release within tolerance is aborted "
        "in at most 1% of rollouts (ratio 234, 95% interval 49.3 to 3,554; e-value over 1,000,000, bound 1,000)"
    )
    assert "bound 1,000" in seen.reason
    assert of(seen, "errors")["e_bad"] >= 1000


def test_before_the_minimums_the_judge_continues_and_says_what_is_to_come(counts) -> None:
    seen = look(counts("v1", 9_500, slow=95, alerts=48), counts("v2", 500, slow=5, alerts=2), elapsed=20.0)
    assert seen.verdict is Verdict.CONTINUE
    assert "1,500 more requests answered by the canary (of at least 2,000)" in seen.needs
    assert "40 more seconds (of at least 60)" in seen.needs
    assert (
        "about 4,200 more canary requests (2.8 minutes at 25 requests/s) to clear errors, fallbacks, missing"
        in seen.needs
    )


def test_a_rate_of_thousands_is_written_out(counts) -> None:
    seen = look(counts("v1", 9_500, slow=95, alerts=48), counts("v2", 500, slow=5, alerts=2), elapsed=0.2)
    assert " at 2,500 requests/s) to clear errors" in seen.needs


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
    assert look(counts("v1", 1000), counts("v2", 0)).reason == "no request has reached the canary"
    idle = look(counts("v1", 0), counts("v2", 9000))
    assert (idle.verdict, idle.reason) == (Verdict.HOLD, "no request has reached the champion to compare with")


def test_requests_that_were_not_answered_do_not_count_towards_the_minimum(counts) -> None:
    champion = replace(counts("v1", 190_000, slow=1900, alerts=950), answered=38_000)
    canary = replace(counts("v2", 10_000, slow=100, alerts=50), answered=1_999)
    assert look(champion, canary).verdict is Verdict.CONTINUE


@pytest.mark.parametrize(
    ("entities", "why"),
    [
        (0, ""),
        (1, ": the one entity that has asked is not among the 5% of entities that it gets"),
        (20, ": none of the 20 entities that have asked is among the 5% of entities that it gets"),
        (2_000, ""),
    ],
)
def test_a_canary_whose_share_holds_no_entity_says_so_where_that_is_chance(counts, entities: int, why: str) -> None:
    seen = look(counts("v1", 40_000, entities=entities), counts("v2", 0, entities=0))
    assert seen.verdict is Verdict.HOLD
    assert seen.reason == f"no request has reached the canary{why}"


def test_counts_that_cannot_be_true_hold(counts) -> None:
    good = look(counts("v1", 40_000, slow=400), counts("v2", 2_100, slow=21))
    back = look(counts("v1", 40_000, slow=400), counts("v2", 2_100, slow=20), memory=good.memory)
    assert back.verdict is Verdict.HOLD
    assert "higher at the last look" in back.reason
    again = look(counts("v1", 40_000, slow=400), counts("v2", 2_100, slow=21), memory=back.memory)
    assert of(again, "slow")["e_bad"] == pytest.approx(
        of(good, "slow")["e_bad"], rel=1e-8
    )  # remembered to nine decimals
    assert "negative" in look(counts("v1", 40_000), counts("v2", 10, errors=-1)).reason
    assert "more answers" in look(counts("v1", 9), replace(counts("v2", 10), answered=11)).reason


def test_a_split_that_is_not_in_force_holds_whatever_else_is_seen(counts) -> None:
    champion, canary = counts("v1", 180_000, entities=9_000), counts("v2", 20_000, entities=1_000, errors=500)
    seen = look(champion, canary)
    assert seen.verdict is Verdict.HOLD
    assert "10.00% instead of the configured 5.00%" in seen.reason


def test_a_canary_that_refuses_what_the_champion_answers_holds(counts) -> None:
    champion = replace(counts("v1", 190_000, slow=1900, alerts=950), answered=189_990)
    canary = replace(counts("v2", 10_000, slow=100, alerts=50), answered=9_500)
    seen = look(champion, canary)
    assert seen.verdict is Verdict.HOLD
    assert "rejects 500 of 10,000 requests as invalid (HTTP 4xx), the champion 10 of 190,000" in seen.reason
    both = look(replace(champion, answered=180_500), canary)
    assert both.verdict is Verdict.PROMOTE, "callers who are wrong on both arms are no fault of the canary"


def test_refused_requests_clear_nothing(counts) -> None:
    refusing = replace(counts("v2", 10_000), answered=100)
    assert of(look(counts("v1", 190_000), refusing), "errors")["canary"]["of"] == 100


def test_a_metric_that_happens_on_neither_arm_is_cleared_by_exposure(counts) -> None:
    quiet = look(counts("v1", 190_000, alerts=950), counts("v2", 10_000, alerts=50))
    assert quiet.verdict is Verdict.PROMOTE


def test_two_silent_releases_show_nothing(counts) -> None:
    silent = look(counts("v1", 19_000_000), counts("v2", 1_000_000))
    assert silent.verdict is Verdict.HOLD
    assert "fewer-alerts (no release has alerted yet)" in silent.reason


@pytest.mark.parametrize("alerting", [(100_000, 5_000), (190_000, 10_000), (1_000, 9_000)])
def test_a_threshold_that_most_rows_reach_shows_nothing(counts, alerting) -> None:
    champion, canary = alerting
    seen = look(counts("v1", 190_000, alerts=champion), counts("v2", 10_000, alerts=canary))
    assert seen.verdict is not Verdict.PROMOTE
    assert of(seen, "alerts")["state"] != "cleared"


@pytest.mark.parametrize("rate", [0.0001, 0.001])
def test_a_canary_that_is_silent_where_alerts_are_rare_is_not_promoted(counts, rate: float) -> None:
    champion = 19_000_000
    seen = look(counts("v1", champion, alerts=int(champion * rate)), counts("v2", 1_000_000))
    assert seen.verdict is Verdict.ABORT
    few = look(counts("v1", 190_000, alerts=int(190_000 * rate)), counts("v2", 10_000))
    assert few.verdict is not Verdict.PROMOTE


def test_a_release_that_has_fallen_silent_is_not_promoted_and_then_aborted(counts) -> None:
    silent = look(counts("v1", 38_000, slow=380, alerts=60), counts("v2", 6_000, entities=2_000, slow=20))
    assert silent.verdict is Verdict.HOLD
    assert "fewer-alerts" in silent.reason
    silent = look(counts("v1", 38_000, slow=380, alerts=400), counts("v2", 2_000, slow=20))
    assert silent.verdict is Verdict.ABORT
    assert silent.reason.startswith(
        "fewer-alerts: 0 of 2,000 canary requests (0%) against 400 of 38,000 of the champion"
    )
    assert "tolerated down to 0.5" in silent.reason


def test_without_a_threshold_alerts_are_not_judged_and_the_verdict_says_so(counts) -> None:
    seen = look(counts("v1", 190_000, slow=1900), counts("v2", 10_000, slow=100), policy=Policy(alerts=None))
    assert seen.verdict is Verdict.PROMOTE
    assert of(seen, "alerts")["summary"] == "alerts: not judged, no alert threshold is known"
    assert of(seen, "fewer-alerts")["state"] == "not judged"


def test_at_full_traffic_what_needs_a_comparison_is_not_judged(counts) -> None:
    steps = (Step(10_000, 100, 1.0, 600.0),)
    seen = look(None, counts("v2", 40_000, slow=400, alerts=200), steps=steps)
    assert seen.verdict is Verdict.PROMOTE
    assert (of(seen, "errors")["state"], of(seen, "alerts")["state"]) == ("cleared", "not judged")


@pytest.mark.parametrize("parts", [(15,), (8, 7), (5, 5, 5), (1,) * 15])
@pytest.mark.parametrize("begin", [0.0, 4.0, 7.5])
def test_one_stall_of_a_worker_aborts_nothing_however_often_one_looks(counts, parts, begin: float) -> None:
    memory: Mapping[str, Any] = {}
    errors, champion, canary = 0, 19_000, 1_000
    for number, part in enumerate((0, *parts, 0, 0)):
        errors, champion, canary = errors + part, champion + 190, canary + 10
        elapsed = 20.0 + begin + number / 4
        seen = look(counts("v1", champion), counts("v2", canary, errors=errors), elapsed=elapsed, memory=memory)
        memory = seen.memory
        assert seen.verdict is not Verdict.ABORT
    held = of(seen, "errors")
    assert held["e_bad"] > 1000 > held["e_bad_without_burst"]
    assert held["state"] == "held back"
    assert "one burst accounts for the excess" in held["summary"]
    again = look(
        counts("v1", champion + 7_600), counts("v2", canary + 400, errors=errors + 15), elapsed=90.0, memory=memory
    )
    assert again.verdict is Verdict.ABORT, "a second stall counts"


def _failing(counts, rate: float, seconds: float, champion_answers: float = 1.0):
    """The last look at a canary that fails every request of one caller for so long, looked at twice a second."""
    memory: Mapping[str, Any] = {}
    looks = int(seconds * 2)
    for number in range(1, looks + 1):
        asked = int(rate * number / 2)
        arms = counts("v1", 19 * asked, entities=19), counts("v2", asked, entities=1, errors=asked)
        canary = replace(
            arms[1], first_in_step={"entities": 1, "errors": 1}, first_in_rollout={"entities": 1, "errors": 1}
        )
        answered = int(champion_answers * arms[0].requests)
        of_champion = replace(arms[0], answered=answered, errors=arms[0].requests - answered)
        seen = assess(POLICY, STEPS, 0, (), StepEvidence(500, of_champion, canary), memory, number / 2)
        memory = seen.memory
    return seen


@pytest.mark.parametrize("rate", [2.0, 10.0, 50.0])
def test_a_canary_that_fails_every_request_of_few_callers_loses_its_traffic_within_a_minute(counts, rate) -> None:
    seen = _failing(counts, rate, 30.0)
    assert (seen.verdict, seen.suspend) == (Verdict.HOLD, True)
    assert "has answered less than half of its requests" in seen.reason
    assert "a person" in seen.needs
    later = look(counts("v1", 190_000), counts("v2", 10_000, errors=9_000), memory=seen.memory)
    assert later.suspend, "it stays away"


def test_a_canary_that_fails_every_request_of_many_callers_is_aborted(counts) -> None:
    memory: Mapping[str, Any] = {}
    for number in range(1, 61):
        seen = look(
            counts("v1", 475 * number), counts("v2", 25 * number, errors=25 * number), number / 2, memory=memory
        )
        memory = seen.memory
        if seen.verdict is Verdict.ABORT:
            break
    assert seen.verdict is Verdict.ABORT
    assert 5.0 < number / 2 <= 20.0, "no stall, but soon"


@pytest.mark.parametrize("seconds", [0.5, 2.0, 5.0, 9.0])
def test_a_stall_takes_no_traffic_away(counts, seconds) -> None:
    assert not _failing(counts, 50.0, seconds).suspend


def test_what_fails_both_arms_takes_no_traffic_away(counts) -> None:
    assert not _failing(counts, 50.0, 60.0, champion_answers=0.9).suspend


@pytest.mark.parametrize("late", ["canary", "champion"])
def test_counts_of_one_arm_that_come_late_or_in_clumps_decide_nothing(counts, late: str) -> None:
    """200 requests a second at 25 %, the canary at 1.2 times the slow answers: one arm's counts come every 30 s."""
    memory: Mapping[str, Any] = {}
    steps = (Step(2500, 10**9, 600.0, 86_400.0),)
    rng = np.random.default_rng(1)
    now = {"v1": np.zeros(2, int), "v2": np.zeros(2, int)}
    seen: dict[str, np.ndarray] = {}
    for second in range(1, 1_200):
        for name, rate, slow in (("v1", 150, 0.01), ("v2", 50, 0.012)):
            now[name] += (rate, rng.binomial(rate, slow))
        if second % 30 == 0 or not seen:
            seen = {name: one.copy() for name, one in now.items()}
        name = {"canary": "v1", "champion": "v2"}[late]
        seen[name] = now[name].copy()
        arms = [counts(arm, int(seen[arm][0]), slow=int(seen[arm][1])) for arm in ("v1", "v2")]
        found = assess(Policy(alerts=None), steps, 0, (), StepEvidence(2500, *arms), memory, float(second))
        memory = found.memory
        assert found.verdict is not Verdict.ABORT
    assert of(found, "slow")["state"] == "cleared", "what came late was judged in the end"


def test_a_stall_of_an_earlier_step_does_not_abort_a_later_one(counts) -> None:
    champion, canary = counts("v1", 19_000), counts("v2", 1_000, errors=15)
    first = look(champion, canary, elapsed=3.0)
    history = [StepEvidence(500, champion, canary)]
    second = look(counts("v1", 50), counts("v2", 50), elapsed=1.0, index=1, history=history, memory=first.memory)
    assert second.verdict is Verdict.CONTINUE


def test_evidence_against_a_release_is_carried_along_the_steps(counts) -> None:
    history = [StepEvidence(500, counts("v1", 50_000, errors=5), counts("v2", 2_500, errors=4))]
    now = counts("v1", 2_500, errors=1), counts("v2", 2_500, errors=8)
    first = look(history[0].champion, history[0].canary)
    fresh, carried = look(*now, index=1), look(*now, index=1, history=history, memory=first.memory)
    assert of(carried, "errors")["e_bad"] > 10 * of(fresh, "errors")["e_bad"]


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


def test_a_ratio_to_a_champion_without_events_is_told_by_its_lower_bound(counts) -> None:
    seen = look(counts("v1", 40_000, slow=400, alerts=200), counts("v2", 2_100, errors=6, slow=21, alerts=10))
    assert "ratio at least 14.9 with 95% confidence, because the champion has none" in of(seen, "errors")["evidence"]


def test_a_metric_is_told_to_whoever_knows_the_model_and_to_a_statistician(counts) -> None:
    errors = of(look(counts("v1", 40_000, errors=8), counts("v2", 2_100, errors=1)), "errors")
    assert errors["summary"] == (
        "errors: 1 of 2,100 canary requests (0.0476%) against 8 of 40,000 of the champion (0.02%), tolerated up to 1.5 "
        "times the champion's rate and unacceptable from 0.1% of requests"
    )
    assert errors["evidence"].startswith("ratio 2.37, 95% interval 0.0106 to 26.3; e-value against it ")
    assert errors["evidence"].endswith(" of 20")


def test_a_burst_that_has_just_begun_does_not_make_bursts_short(counts) -> None:
    """In the last step the first error of a card, after so many requests without one, may be the first of twenty."""

    def state(errors: int) -> str:
        champion = counts("v1", 120_000, slow=1_200, alerts=600)
        canary = counts("v2", 40_000, slow=400, alerts=200, errors=errors)
        return of(look(champion, canary, steps=(Step(2500, 2000, 60.0, 600.0),)), "errors")["state"]

    assert [state(0), state(1)] == ["cleared", "open"]
