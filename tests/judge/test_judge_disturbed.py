"""Looks while, and after, the platform has requests set aside: the counts stand still."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from serinus.core.evidence import Verdict
from serinus.core.rollout import Assessment, Policy, Step
from serinus.judge import StepEvidence, assess, reproduce

STEPS = (Step(500, 100, 10.0, 3600.0), Step(5000, 100, 10.0, 3600.0))
POLICY = Policy()


@pytest.fixture
def looks(counts):
    """look(elapsed, asked, failed): of the canary, all of one card. The champion has 19 times as many, all good."""
    memory: list[Mapping[str, Any]] = [{}]

    def look(elapsed: float, asked: int, failed: int, disturbed: str = "") -> Assessment:
        canary = counts("v2", asked, errors=failed)
        canary.first_in_step["errors"] = canary.first_in_rollout["errors"] = min(failed, 1)
        now = StepEvidence(500, counts("v1", 19 * asked), canary)
        found = assess(POLICY, STEPS, 0, (), now, memory[0], elapsed, disturbed)
        memory[0] = json.loads(json.dumps(found.memory))
        return found

    return look


def test_one_bad_look_after_a_pause_is_not_taken_for_a_pause_that_was_bad(looks) -> None:
    looks(30.0, 20, 0)
    for second in range(31, 91):
        assert not looks(float(second), 20, 0, "Serinus is restarting").suspend
    assert not looks(91.0, 40, 20).suspend
    later = [looks(91.0 + 5 * window, 40 + 20 * window, 20 + 20 * window).suspend for window in (1, 2)]
    assert later == [True, True], "but what goes on is no moment"


def test_a_reason_says_why_nothing_is_counted_and_can_be_computed_again(looks) -> None:
    seen = looks(5.0, 20, 0, "Serinus is restarting")
    assert seen.verdict is Verdict.CONTINUE
    assert seen.reason.startswith("Serinus is restarting, so requests are not counted now; collecting evidence")
    assert reproduce(POLICY, STEPS, seen) == seen


def test_an_arm_without_requests_yet_says_so_too(looks) -> None:
    seen = looks(5.0, 0, 0, "Serinus is restarting")
    assert (seen.verdict, seen.reason) == (
        Verdict.HOLD,
        "Serinus is restarting, so requests are not counted now; no request has reached the canary",
    )
