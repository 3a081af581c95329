"""CANARY: fetches the figures that the judge decides from, and hands back what it must be given again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from serinus import judge
from serinus.core.disturbance import WORDS
from serinus.core.evidence import ArmCounts
from serinus.core.rollout import Assessment, Rollout, StepRecord
from serinus.engine.world import World
from serinus.judge import StepEvidence

CHAMPION_SECONDS = 600.0
CHAMPION_REQUESTS = 1_000
"""Fewer say too little of a 99th percentile."""
SHARE_OF_TIMEOUT = 0.2
REDRAW_SECONDS = 600.0
"""For which a canary that gets no request waits for an entity of its share."""
ASKED_AGAIN = 20
"""Requests for each entity, from which on those that ask are known: few others will come."""


Counted = Mapping[str, Mapping[str, ArmCounts]]
"""Split -> release -> what was counted of it under that split."""


def splits_of(rollout: Rollout) -> Collection[str]:
    """The splits whose counts `assess` needs."""
    return [record.split for record in rollout.steps]


def assess(world: World, rollout: Rollout, counted: Counted) -> Assessment | None:
    """The judge's answer for the present step; None: the prediction log did not answer, which is never good news."""
    plan, index = rollout.plan, rollout.status.step
    if plan is None or rollout.candidate is None or not rollout.steps:
        return None
    evidence = [_evidence(rollout, record, counted) for record in rollout.steps]
    elapsed = rollout.steps[-1].elapsed(world.clock.now())
    disturbance = world.log.disturbance(rollout.model)
    disturbed = "" if disturbance is None else WORDS[disturbance.cause]
    return judge.assess(
        plan.policy, plan.steps, index, evidence[:-1], evidence[-1], _memory(rollout), elapsed, disturbed
    )


def without_entities(world: World, rollout: Rollout, counted: Counted) -> bool:
    """Whether none of the few entities that ask, again and again, is in the canary's share, so that it would wait in
    vain. By the entities of the requests alone, and never by the answers: another draw favours neither release."""
    if rollout.plan is None or rollout.candidate is None or not rollout.steps:
        return False
    record = rollout.steps[-1]
    now = _evidence(rollout, record, counted)
    if now.champion is None or now.canary is None or now.canary.requests:
        return False
    if record.elapsed(world.clock.now()) < REDRAW_SECONDS:
        return False
    entities = now.champion.first_in_step.get("entities", 0)
    return 0 < entities * ASKED_AGAIN <= now.champion.requests


def slow_limit(world: World, rollout: Rollout) -> float:
    """Milliseconds from which on an answer is slow, fixed when the canary starts.

    The champion's p99, but never less than a fifth of the caller's timeout: a model that answers in 3 ms where the
    champion took 1 ms is slower, and no caller is worse off.
    """
    assert rollout.plan is not None
    plan = rollout.plan
    if plan.slow_ms is not None:
        return plan.slow_ms
    floor = SHARE_OF_TIMEOUT * plan.settings.timeout_ms
    traffic = world.log.traffic(rollout.model, CHAMPION_SECONDS).get(plan.champion or "")
    if traffic is None or traffic.p99_ms is None or traffic.requests < CHAMPION_REQUESTS:
        return floor
    return max(floor, traffic.p99_ms)


def _evidence(rollout: Rollout, record: StepRecord, counted: Counted) -> StepEvidence:
    assert rollout.plan is not None
    assert rollout.candidate is not None
    counts = counted.get(record.split)
    return StepEvidence(
        weight=record.weight,
        champion=_arm(counts, rollout.plan.champion),
        canary=_arm(counts, rollout.candidate.id),
    )


def _arm(counts: Mapping[str, ArmCounts] | None, release: str | None) -> ArmCounts | None:
    if counts is None or release is None:
        return None
    return counts.get(release, ArmCounts(release))  # who has answered nothing is not among them


def _memory(rollout: Rollout) -> Mapping[str, Any]:
    """Of the last look: of this step, or of the one before when this step has not been looked at yet."""
    looked = [record.assessment for record in rollout.steps if record.assessment is not None]
    return looked[-1].memory if looked else {}
