"""The counts that the judge gets at a look, and their JSON form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from serinus.core.evidence import ArmCounts
from serinus.core.routing import WHOLE


@dataclass(frozen=True, slots=True)
class StepEvidence:
    """The counts under the split of one step. None as an arm: unknown, which is never taken for good."""

    weight: int
    """The weight of the canary, out of `WHOLE`."""
    champion: ArmCounts | None
    canary: ArmCounts | None

    @property
    def q(self) -> float:
        """The canary's share of the traffic, from 0 to 1."""
        return self.weight / WHOLE

    def as_json(self) -> dict[str, Any]:
        """Returns the counts as JSON."""
        return {
            "weight": self.weight,
            "champion": _arm_as_json(self.champion),
            "canary": _arm_as_json(self.canary),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> StepEvidence:
        """Reads the result of `as_json`."""
        champion, canary = value["champion"], value["canary"]
        return StepEvidence(
            weight=value["weight"],
            champion=None if champion is None else ArmCounts(**champion),
            canary=None if canary is None else ArmCounts(**canary),
        )


_FIELDS = tuple(field.name for field in fields(ArmCounts))


def _arm_as_json(arm: ArmCounts | None) -> dict[str, Any] | None:
    """Returns the counts of an arm without zeros and without what was not counted."""
    return None if arm is None else {name: value for name in _FIELDS if (value := getattr(arm, name))}


def first_in_step(arm: ArmCounts, event: str) -> int:
    """Returns the entities with such an event in this step, or all events where entities are not counted."""
    return int(arm.first_in_step.get(event, getattr(arm, event)))


def first_in_rollout(arm: ArmCounts, event: str) -> int:
    """Returns the entities whose first such event of the whole rollout was in this step."""
    return int(arm.first_in_rollout.get(event, first_in_step(arm, event)))


DEPLETED = 0.5
"""The share of an arm's requests, or of its entities, that must still be at risk for first events to be informative."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The period within which an entity's event is its first one."""

    firsts: Callable[[ArmCounts, str], int]
    at_risk: Callable[[ArmCounts], Mapping[str, int]]


IN_STEP = Scope(first_in_step, lambda arm: arm.at_risk_in_step)
IN_ROLLOUT = Scope(first_in_rollout, lambda arm: arm.at_risk_in_rollout)
IN_WINDOW = Scope(lambda arm, event: arm.first_in_window.get(event, 0), lambda arm: arm.at_risk_in_window)


@dataclass(frozen=True, slots=True)
class Firsts:
    """First events of both arms between two looks, and how the requests at risk were divided."""

    hits: int
    """First events of the suspect arm."""
    misses: int
    share: float
    """The suspect arm's share of the requests at risk. At 0 or 1 one arm had none, and the events say nothing."""

    @property
    def tells(self) -> bool:
        """Whether the events say anything about the arms."""
        return 0.0 < self.share < 1.0


def firsts(
    scope: Scope,
    event: str,
    suspect: tuple[ArmCounts, ArmCounts | None],
    other: tuple[ArmCounts, ArmCounts | None],
    trials: Callable[[ArmCounts], int],
) -> Firsts:
    """Returns the first events. `suspect` and `other` are each arm now, and at the last look that was taken."""
    hits, misses = (
        scope.firsts(now, event) - (0 if before is None else scope.firsts(before, event))
        for now, before in (suspect, other)
    )
    ours, theirs = (_at_risk(scope, event, now, before, trials) for now, before in (suspect, other))
    if ours is None or theirs is None or ours + theirs <= 0.0:
        return Firsts(hits, misses, 0.0)
    return Firsts(hits, misses, ours / (ours + theirs))


def run_out(event: str, arms: Sequence[tuple[ArmCounts, ArmCounts | None]], trials: Callable[[ArmCounts], int]) -> bool:
    """Whether most requests of an arm are of entities that have had such an event in this step, and this is counted."""
    for now, before in arms:
        if event not in now.at_risk_in_step or event not in now.at_risk_in_window:
            return False
        requests = trials(now) - (0 if before is None else trials(before))
        if (_at_risk(IN_STEP, event, now, before, trials) or 0.0) < DEPLETED * requests:
            return True
    return False


def _at_risk(
    scope: Scope, event: str, now: ArmCounts, before: ArmCounts | None, trials: Callable[[ArmCounts], int]
) -> float | None:
    """Returns the requests since `before` of entities without such an event so far.

    Where they are not counted, they are estimated: one request of each new entity, and of the other requests the share
    of entities without an event. None: so few entities are left that the estimate would be a guess.
    """
    counted = scope.at_risk(now)
    if event in counted:
        return float(counted[event] - (0 if before is None else scope.at_risk(before).get(event, 0)))
    requests = trials(now) - (0 if before is None else trials(before))
    entities = now.first_in_step.get("entities", 0)
    if before is None or not entities:
        return float(requests)
    known = before.first_in_step.get("entities", 0)
    of_new = min(max(entities - known, 0), requests)
    of_known = (requests - of_new) * (1.0 - first_in_step(before, event) / known) if known else 0.0
    return None if of_new + of_known < DEPLETED * requests else of_new + of_known


def refused(arm: ArmCounts) -> int:
    """Returns the requests that were refused as the caller's mistake. They are neither answered nor errors."""
    return max(0, arm.requests - arm.answered - arm.errors - arm.fallbacks)


def problem_with(arm: ArmCounts) -> str | None:
    """Returns why these counts contradict themselves. None: they do not."""
    events = ("requests", "answered", "rows", "errors", "slow", "fallbacks", "alerts", "missing")
    numbers = [getattr(arm, name) for name in events]
    numbers += [*arm.first_in_step.values(), *arm.first_in_rollout.values()]
    if any(number < 0 for number in numbers):
        return f"negative counts for {arm.release}"
    if arm.answered > arm.requests:
        return f"more answers than requests for {arm.release}"
    return None
