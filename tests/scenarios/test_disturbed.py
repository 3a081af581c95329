"""What the platform causes during a canary is evidence neither against it nor for it, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from lab import ADA, MODEL, Behaviour, Lab

from serinus.core.disturbance import Cause, Disturbance
from serinus.core.evidence import Verdict
from serinus.core.rollout import Cause as Why
from serinus.core.rollout import Phase
from serinus.judge import reproduce


@pytest.fixture
def canary(lab: Lab) -> Lab:
    """fraud@7 has been in its first step for a minute, beside fraud@6, at 500 requests a second."""
    lab.live("6")
    lab.per_second = 500
    lab.register("7")
    lab.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    lab.run(600, until=lambda: lab.phase is Phase.CANARY)
    lab.run(60)
    assert lab.phase is Phase.CANARY
    return lab


def disturb(lab: Lab, cause: Cause, seconds: float, **faults: float) -> None:
    """The canary alone behaves badly meanwhile."""
    before = lab.registry.behaviours["7"]
    lab.registry.behaviours["7"] = Behaviour(**faults)
    lab.log.disturbed = Disturbance(cause, lab.clock.time.timestamp())
    lab.run(seconds)
    lab.log.disturbed = None
    lab.registry.behaviours["7"] = before


@pytest.mark.parametrize("cause", list(Cause))
def test_a_canary_whose_answers_fail_while_the_platform_disturbs_it_is_promoted(canary: Lab, cause: Cause) -> None:
    disturb(canary, cause, 40, errors=0.8, slow=0.2)
    assert canary.phase is Phase.CANARY
    canary.run(4 * 3600, until=lambda: canary.phase.ended)
    assert canary.phase is Phase.PROMOTED, canary.rollout.status


def test_without_a_disturbance_the_same_canary_is_aborted(canary: Lab) -> None:
    canary.registry.behaviours["7"] = Behaviour(errors=0.8, slow=0.2)
    canary.run(40)
    assert (canary.phase, canary.rollout.status.cause) == (Phase.ABORTED, Why.JUDGE)


def test_while_requests_are_set_aside_nothing_is_promoted_and_the_reason_says_why(canary: Lab) -> None:
    canary.log.disturbed = Disturbance(Cause.STARVED, canary.clock.time.timestamp())
    step = canary.rollout.status.step
    canary.run(1200)
    assert (canary.phase, canary.rollout.status.step) == (Phase.CANARY, step)
    stored = canary.rollout.steps[-1].assessment
    assert stored is not None
    assert stored.verdict in (Verdict.CONTINUE, Verdict.HOLD)
    assert stored.reason.startswith(
        "other processes use all processors of this machine, so requests are not counted now; "
    )
    assert canary.rollout.plan is not None
    assert reproduce(canary.rollout.plan.policy, canary.rollout.plan.steps, stored).reason == stored.reason


def test_a_canary_that_goes_on_failing_afterwards_is_aborted(canary: Lab) -> None:
    disturb(canary, Cause.RESTART, 40)
    canary.registry.behaviours["7"] = Behaviour(slow=0.2)
    canary.run(600, until=lambda: canary.phase.ended)
    assert (canary.phase, canary.rollout.status.cause) == (Phase.ABORTED, Why.JUDGE)


def test_both_arms_of_a_canary_are_kept_up(canary: Lab) -> None:
    canary.target.at_zero.update({"6", "7"})
    canary.run(8)
    assert canary.target.at_zero == set()


def test_the_time_in_which_serinus_was_stopped_is_no_time_of_the_canary(canary: Lab) -> None:
    """It neither uses up the patience, nor counts as seconds for which the step has lasted."""
    plan = canary.rollout.plan
    assert plan is not None
    longest, before = plan.steps[0].maximum_seconds, elapsed(canary)
    canary.clock.time += timedelta(seconds=3 * longest)
    canary.run(8)
    assert canary.phase is Phase.CANARY, canary.rollout.status
    assert not canary.rollout.status.extended
    assert elapsed(canary) - before < 60
    canary.run(4 * 3600, until=lambda: canary.phase.ended)
    assert canary.phase is Phase.PROMOTED, canary.rollout.status


@pytest.mark.long
def test_the_patience_with_a_step_that_nobody_asks_ends_all_the_same(canary: Lab) -> None:
    plan = canary.rollout.plan
    assert plan is not None
    canary.per_second = 0
    canary.clock.time += timedelta(hours=1)
    canary.run(2 * plan.steps[0].maximum_seconds + 600, until=lambda: canary.phase.ended)
    assert (canary.phase, canary.rollout.status.cause) == (Phase.ABORTED, Why.PATIENCE)


def elapsed(lab: Lab) -> float:
    """Seconds for which the step has lasted, as the judge knows it."""
    stored = lab.rollout.steps[-1].assessment
    assert stored is not None
    return float(stored.memory["look"]["elapsed"])
