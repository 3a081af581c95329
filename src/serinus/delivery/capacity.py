"""How large the releases of a rollout must be before the traffic is divided anew. Pure functions.

What a worker can carry is not known before it carries it. The measure is what a worker of the champion carries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from serinus.core.evidence import Verdict
from serinus.core.placement import Placement
from serinus.core.rollout import Kind, ModelState, Phase, Rollout
from serinus.core.routing import WHOLE
from serinus.delivery.observed import Observed
from serinus.delivery.world import canary_weight

TOLERANCE = 0.9
"""The share of what is measured to be needed from which on workers suffice, as one more would mostly be for the noise
of the measurement."""
HEADROOM = 1.2
"""How much larger a candidate is made than its share needs, because the load changes while its workers start."""
LARGE_FOR = timedelta(hours=1)
"""The time after a rollout for which its releases stay as large as they were made: the new champion until the
autoscaler has seen the whole load, and the champion before for a rollback."""
ORDER_WAITS = timedelta(seconds=30)
"""How long a rollback, or a promotion that a person ordered, waits for workers. It continues without them."""


@dataclass(frozen=True, slots=True)
class Load:
    """The measured load of a model."""

    per_second: float
    """Requests a second to the model."""
    per_worker: float
    """Requests a second that one worker of the champion carries, or carried before the traffic was divided."""

    def workers(self, weight: int, margin: float = TOLERANCE) -> int:
        """Returns how many workers carry `margin` times the share `weight` of the requests."""
        return math.ceil(self.per_second * weight / WHOLE * margin / self.per_worker)


def coming_weight(rollout: Rollout, seen: Observed) -> int:
    """Returns the share of the traffic that the candidate has next, out of `WHOLE`. 0: none, or there is no
    candidate."""
    phase, plan = rollout.status.phase, rollout.plan
    if rollout.candidate is None or plan is None:
        return 0
    if phase in (Phase.PLACE, Phase.GATES, Phase.APPROVAL):
        gradual = rollout.kind is Kind.DEPLOY and plan.champion is not None and plan.steps
        return plan.steps[0].weight if gradual else WHOLE
    if phase is Phase.CANARY:
        if seen.order("promote") is not None:
            return WHOLE
        if _passed(rollout, seen):
            after = plan.steps[rollout.status.step + 1 :]
            return after[0].weight if after else WHOLE
        return canary_weight(rollout)
    return WHOLE if phase is Phase.PROMOTING else 0


def expected_workers(state: ModelState, rollout: Rollout, coming: int, load: Load) -> Mapping[str, int]:
    """Returns how many workers are expected of the releases of a rollout in flight. Others keep what was expected of
    them.

    The release that the traffic goes back to after an abort or a rollback stays large enough for all of it.
    """
    if rollout.candidate is None or coming == 0:
        return {}
    back = {Phase.CANARY: state.champion, Phase.PROMOTING: state.previous}.get(rollout.status.phase)
    if rollout.kind is Kind.ROLLBACK or (back is not None and back.id == rollout.candidate.id):
        back = None
    found = {rollout.candidate.id: load.workers(coming, HEADROOM)}
    return found if back is None else {**found, back.id: load.workers(WHOLE)}


def missing_workers(rollout: Rollout, coming: int, load: Load, placements: Mapping[str, Placement]) -> str:
    """Returns in words why the candidate is too small for its coming share. Empty: it is not, or gets no more than it
    has, or the target does not say how many workers it has.

    It need not be larger than the champion can be.
    """
    placed = placements.get(rollout.candidate.id) if rollout.candidate else None
    if placed is None or placed.capacity is None or coming <= canary_weight(rollout):
        return ""
    champion = placements.get(rollout.plan.champion or "") if rollout.plan else None
    needed = load.workers(coming)
    if champion is not None and champion.most is not None:
        needed = min(needed, champion.most)
    if placed.capacity >= needed:
        return ""
    text = f"{placed.release} has {placed.capacity} of the {needed} workers that carry {100 * coming / WHOLE:g}%"
    if placed.most is not None and placed.most < needed:
        return f"{text}, and may have {placed.most} at most"
    return f"{text}: {placed.reason}" if placed.reason else text


def held_back(rollout: Rollout, coming: int, placements: Mapping[str, Placement]) -> str:
    """Returns in words why the target says that the candidate must not get its coming share. Empty: it does not, or the
    share is no larger than it has."""
    placed = placements.get(rollout.candidate.id) if rollout.candidate else None
    if placed is None or not placed.unsettled or coming <= canary_weight(rollout):
        return ""
    return f"{placed.release} gets no more traffic for now: {placed.unsettled}"


def too_small(rollout: Rollout, seen: Observed, now: datetime) -> bool:
    """Whether the candidate has to wait for workers before it gets more traffic. A rollback and an ordered promotion
    wait for `ORDER_WAITS` at most."""
    order = seen.order("promote")
    if rollout.kind is Kind.ROLLBACK:
        answers_since = seen.placement.active_since if seen.placement else None
        since = max(rollout.status.since, answers_since or rollout.status.since)
    else:
        since = order.at if order is not None else now
    return bool(seen.too_small) and now - since < ORDER_WAITS


def is_kept_large(last: Rollout | None, now: datetime) -> bool:
    """Whether the releases of a model without a rollout in flight stay as large as they were made. `last` is its last
    rollout."""
    return last is not None and now - last.status.since < LARGE_FOR


def _passed(rollout: Rollout, seen: Observed) -> bool:
    verdict = seen.assessment.verdict if seen.assessment else None
    return verdict is Verdict.PROMOTE and not rollout.status.suspended
