"""Whether a model has so few entities that a canary may have none of them, estimated before it begins."""

from __future__ import annotations

from serinus.core.ports import Rollouts
from serinus.core.rollout import Rollout
from serinus.judge import StepEvidence

OFTEN = 0.05
"""The share of rollouts with an empty canary from which on there is a warning."""
LOOKED_AT = 10
"""The number of newest rollouts of the model that are read."""


def entities_before(rollouts: Rollouts, model: str) -> int | None:
    """Returns the entities in the longest step of the newest rollout that has counted some. None: there is none.

    Every request without an entity counts as one.
    """
    for rollout in rollouts.rollouts(model, limit=LOOKED_AT):
        if many := max(map(_entities, _evidence(rollout)), default=0):
            return many
    return None


def without_any(entities: int, share: float) -> float:
    """Returns the share of rollouts whose canary has none of so many entities, at its `share` of them."""
    return float((1.0 - share) ** entities)


def _evidence(rollout: Rollout) -> list[StepEvidence]:
    looks = [record.assessment.memory.get("look") for record in rollout.steps if record.assessment is not None]
    return [StepEvidence.from_json(look["now"]) for look in looks if look]


def _entities(step: StepEvidence) -> int:
    return sum(arm.first_in_step.get("entities", 0) for arm in (step.champion, step.canary) if arm is not None)
