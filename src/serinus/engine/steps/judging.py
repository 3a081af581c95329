"""The phase `canary`: reads the counts by which the judge decides, and keeps the judge's memory."""

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
"""The least number of the champion's requests. Fewer say too little about a 99th percentile."""
SHARE_OF_TIMEOUT = 0.2
REDRAW_SECONDS = 600.0
"""How long a canary without requests waits for an entity of its share."""
ASKED_AGAIN = 20
"""The number of requests per entity from which on few further entities are expected."""


Counted = Mapping[str, Mapping[str, ArmCounts]]
"""The counts by split and release."""


def splits_of(rollout: Rollout) -> Collection[str]:
    """Returns the splits whose counts `assess` needs."""
    return [record.split for record in rollout.steps]


def assess(world: World, rollout: Rollout, counted: Counted) -> Assessment | None:
    """Returns the judge's assessment of the present step. None: the prediction log did not answer, which is never taken
    for good."""
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
    """Whether none of the few entities that send requests is in the canary's share, so that it would wait in vain.

    Only the entities of requests decide, and never the answers, so that another draw favours neither release.
    """
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
    """Returns the latency, in milliseconds, from which on an answer is slow. It is fixed when the canary starts.

    It is the champion's p99, but at least a fifth of the caller's timeout: a model that answers in 3 ms where the
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
    return counts.get(release, ArmCounts(release))  # A release without answers is missing.


def _memory(rollout: Rollout) -> Mapping[str, Any]:
    """Returns the judge's memory of the last look, at this step or the one before."""
    looked = [record.assessment for record in rollout.steps if record.assessment is not None]
    return looked[-1].memory if looked else {}
