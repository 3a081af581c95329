"""The transitions of a rollout, as a table. In a tick, the first transition that applies happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from serinus.core.rollout import Phase, Rollout
from serinus.delivery import canary, orders, preparation
from serinus.delivery.observed import Observed
from serinus.delivery.phases import enter

Change = Callable[[Rollout, Observed, datetime], Rollout | None]
"""Returns the rollout after the transition. None: the transition does not apply."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A named transition. It may apply in the phases `sources`."""

    name: str
    sources: frozenset[Phase]
    apply: Change


def promoted(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Ends a promotion once routing, aliases and the fleet repository name the new champion."""
    return enter(rollout, Phase.PROMOTED, now, rollout.status.reason) if seen.settled else None


def aborted(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Ends an abort once routing, aliases and the fleet repository name the champion alone."""
    return enter(rollout, Phase.ABORTED, now, rollout.status.reason, rollout.status.cause) if seen.settled else None


def retired(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Ends a retirement once routing, aliases and the fleet repository name no champion."""
    return enter(rollout, Phase.RETIRED, now, rollout.status.reason) if seen.settled else None


def scaled(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Ends a change of scale once the target has applied it."""
    return enter(rollout, Phase.SCALED, now, rollout.status.reason) if seen.settled else None


BEFORE_PROMOTION = frozenset({Phase.RESOLVE, Phase.BUILD, Phase.PLACE, Phase.GATES, Phase.APPROVAL, Phase.CANARY})
CANARY = frozenset({Phase.CANARY})

TRANSITIONS = (
    Transition("ordered-abort", BEFORE_PROMOTION | {Phase.SCALING}, orders.ordered_abort),
    Transition("retiring", frozenset({Phase.PLACE}), preparation.retiring),
    Transition("scaling", frozenset({Phase.PLACE}), preparation.scaling),
    Transition("ordered-promote", CANARY, orders.ordered_promote),
    Transition("failed", frozenset({Phase.RESOLVE, Phase.BUILD, Phase.GATES}), preparation.failed),
    Transition("resolved", frozenset({Phase.RESOLVE}), preparation.resolved),
    Transition("built", frozenset({Phase.BUILD}), preparation.built),
    Transition("does-not-load", frozenset({Phase.PLACE, Phase.GATES}), preparation.does_not_load),
    Transition(
        "waits-for-capacity",
        frozenset({Phase.PLACE, Phase.GATES, Phase.APPROVAL}),
        preparation.waits_for_capacity,
    ),
    Transition("placed", frozenset({Phase.PLACE}), preparation.placed),
    Transition("placed-another-way", frozenset({Phase.GATES}), preparation.placed_another_way),
    Transition("examined", frozenset({Phase.GATES}), preparation.examined),
    Transition("approved", frozenset({Phase.APPROVAL}), preparation.approved),
    Transition("judged-bad", CANARY, canary.judged_bad),
    Transition("crashes-again-and-again", CANARY, canary.crashes_again_and_again),
    Transition("traffic-taken-away", CANARY, canary.traffic_taken_away),
    Transition("step-passed", CANARY, canary.step_passed),
    Transition("share-drawn-again", CANARY, canary.share_drawn_again),
    Transition("out-of-patience", CANARY, canary.out_of_patience),
    Transition("still-watching", CANARY, canary.still_watching),
    Transition("promoted", frozenset({Phase.PROMOTING}), promoted),
    Transition("aborted", frozenset({Phase.ABORTING}), aborted),
    Transition("retired", frozenset({Phase.RETIRING}), retired),
    Transition("scaled", frozenset({Phase.SCALING}), scaled),
)


def advance(rollout: Rollout, seen: Observed, now: datetime) -> tuple[str, Rollout] | None:
    """Returns the name of the transition that happens and the rollout after it. None: nothing changes."""
    for transition in TRANSITIONS:
        if rollout.status.phase not in transition.sources:
            continue
        after = transition.apply(rollout, seen, now)
        if after is not None:
            return transition.name, after
    return None
