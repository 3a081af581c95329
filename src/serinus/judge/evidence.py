"""What the judge is given at a look, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from serinus.core.values import WHOLE, ArmCounts


@dataclass(frozen=True, slots=True)
class StepEvidence:
    """What was counted under one step's split. `None`: not known, which is never good news."""

    weight: int
    """Of the canary, out of `WHOLE`, while the split was in force."""
    champion: ArmCounts | None
    canary: ArmCounts | None

    @property
    def q(self) -> float:
        """The canary's share of the traffic, 0 to 1."""
        return self.weight / WHOLE

    def as_json(self) -> dict[str, Any]:
        return {
            "weight": self.weight,
            "champion": _arm_as_json(self.champion),
            "canary": _arm_as_json(self.canary),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> StepEvidence:
        champion, canary = value["champion"], value["canary"]
        return StepEvidence(
            weight=value["weight"],
            champion=None if champion is None else ArmCounts(**champion),
            canary=None if canary is None else ArmCounts(**canary),
        )


def _arm_as_json(arm: ArmCounts | None) -> dict[str, Any] | None:
    return None if arm is None else asdict(arm)


def first_in_step(arm: ArmCounts, event: str) -> int:
    """Entities with such an event in this step; every event by itself where entities are not counted."""
    return int(arm.first_in_step.get(event, getattr(arm, event)))


def first_in_rollout(arm: ArmCounts, event: str) -> int:
    """Entities whose first such event of the whole rollout fell into this step."""
    return int(arm.first_in_rollout.get(event, first_in_step(arm, event)))


def refused(arm: ArmCounts) -> int:
    """Requests that were turned away as the caller's mistake: neither answered nor errors."""
    return max(0, arm.requests - arm.answered - arm.errors - arm.fallbacks)


def problem_with(arm: ArmCounts) -> str | None:
    """Why these counts cannot be true, or None."""
    events = ("requests", "answered", "rows", "errors", "slow", "fallbacks", "alerts", "missing")
    numbers = [getattr(arm, name) for name in events]
    numbers += [*arm.first_in_step.values(), *arm.first_in_rollout.values()]
    if any(number < 0 for number in numbers):
        return f"negative counts for {arm.release}"
    if arm.answered > arm.requests:
        return f"more answers than requests for {arm.release}"
    return None
