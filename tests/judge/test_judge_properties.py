"""What holds for any counts whatever."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.core.evidence import ArmCounts, Verdict
from serinus.core.rollout import Policy, Step
from serinus.judge import StepEvidence, assess

EVENTS = ("errors", "slow", "fallbacks", "alerts", "missing")
STEPS = (Step(500, 1000, 30.0, 600.0), Step(5000, 1000, 30.0, 600.0))


@st.composite
def arms(draw: st.DrawFn, release: str) -> ArmCounts | None:
    if draw(st.integers(0, 5)) == 0:
        return None
    requests = draw(st.integers(0, 200_000))
    answered = draw(st.integers(0, requests))
    events = {name: draw(st.integers(0, min(answered, 400))) for name in EVENTS}
    first = {name: draw(st.integers(0, number)) for name, number in events.items()}
    if draw(st.booleans()):
        first["entities"] = draw(st.integers(0, requests))
    return ArmCounts(release, requests, answered, answered, first_in_step=first, first_in_rollout=first, **events)


@st.composite
def evidence(draw: st.DrawFn, weight: int) -> StepEvidence:
    return StepEvidence(weight, draw(arms("v1")), draw(arms("v2")))


@settings(max_examples=150, deadline=None)
@given(now=evidence(5000), before=evidence(500), elapsed=st.floats(0, 1000), known=st.booleans())
def test_nothing_is_promoted_without_data_minimums_and_every_metric(
    now: StepEvidence, before: StepEvidence, elapsed: float, known: bool
) -> None:
    policy = Policy() if known else Policy(alerts=None)
    seen = assess(policy, STEPS, 1, [before], now, {}, elapsed)
    json.dumps([seen.memory, [dict(metric) for metric in seen.metrics]], allow_nan=False)
    assert seen.reason
    if now.canary is None or now.champion is None or not now.canary.requests or not now.champion.requests:
        assert seen.verdict is Verdict.HOLD
    if seen.verdict is Verdict.PROMOTE:
        assert now.canary is not None
        assert now.canary.answered >= 1000
        assert elapsed >= 30
        judged = [metric for metric in seen.metrics if metric["state"] != "not judged"]
        assert len(judged) == (6 if known else 4)
        assert all(metric["e_good"] >= 20 and metric["e_bad"] < 1000 for metric in judged)
    else:
        assert seen.needs or seen.verdict is Verdict.ABORT


@settings(max_examples=100, deadline=None)
@given(now=evidence(500), more=st.integers(1, 300), name=st.sampled_from(("errors", "fallbacks", "slow", "missing")))
def test_more_bad_events_of_the_canary_never_help_it(now: StepEvidence, more: int, name: str) -> None:
    """Neither from ABORT to something milder nor to PROMOTE."""
    if now.canary is None or now.canary.answered < 1000:
        return
    first = {**now.canary.first_in_step, name: now.canary.first_in_step[name] + more}
    events = {name: getattr(now.canary, name) + more}
    worse = replace(now, canary=replace(now.canary, first_in_step=first, first_in_rollout=first, **events))
    was, is_now = (assess(Policy(), STEPS, 0, (), one, {}, 60.0).verdict for one in (now, worse))
    if was is Verdict.ABORT:
        assert is_now is Verdict.ABORT
    if was is not Verdict.PROMOTE:
        assert is_now is not Verdict.PROMOTE


@settings(max_examples=60, deadline=None)
@given(now=evidence(500), minimum=st.integers(0, 5000))
def test_a_higher_minimum_never_promotes_sooner(now: StepEvidence, minimum: int) -> None:
    def verdict(requests: int) -> Verdict:
        return assess(Policy(), (Step(500, requests, 0.0, 600.0),), 0, (), now, {}, 60.0).verdict

    if verdict(minimum) is not Verdict.PROMOTE:
        assert verdict(minimum + 1000) is not Verdict.PROMOTE
