"""Whether so few entities ask a model that a canary may have none of them, told before it begins."""

from __future__ import annotations

from serinus.core.ports import Rollouts
from serinus.core.rollout import Rollout
from serinus.judge import StepEvidence

OFTEN = 0.05
"""Share of rollouts that may have a canary without an entity before it is warned of."""
LOOKED_AT = 10
"""Rollouts of the model, the newest first."""


def entities_before(rollouts: Rollouts, model: str) -> int | None:
    """Entities that asked in the longest step of the newest rollout that has counted some; None: none has. Requests
    without an entity are one each."""
    for rollout in rollouts.rollouts(model, limit=LOOKED_AT):
        if many := max(map(_entities, _evidence(rollout)), default=0):
            return many
    return None


def without_any(entities: int, share: float) -> float:
    """Share of rollouts whose canary has none of so many entities, where it has `share` of them."""
    return float((1.0 - share) ** entities)


def _evidence(rollout: Rollout) -> list[StepEvidence]:
    looks = [record.assessment.memory.get("look") for record in rollout.steps if record.assessment is not None]
    return [StepEvidence.from_json(look["now"]) for look in looks if look]


def _entities(step: StepEvidence) -> int:
    return sum(arm.first_in_step.get("entities", 0) for arm in (step.champion, step.canary) if arm is not None)
