"""Transitions before a release gets traffic: from reading its files to its approval."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from serinus.core.examination import Outcome
from serinus.core.placement import PlacementState
from serinus.core.rollout import Cause, Kind, Order, Phase, Rollout
from serinus.delivery.canary import begin_step
from serinus.delivery.capacity import too_small
from serinus.delivery.observed import Built, Examined, Failure, Observed, Resolved
from serinus.delivery.orders import may_approve
from serinus.delivery.phases import abort, enter


def failed(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Aborts the rollout, because a step of the preparation has failed and another attempt would not help."""
    result = {
        Phase.RESOLVE: seen.resolved,
        Phase.BUILD: seen.built,
        Phase.GATES: seen.examined,
    }.get(rollout.status.phase)
    return abort(rollout, result.cause, result.reason, now) if isinstance(result, Failure) else None


def resolved(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the build, or aborts the rollout where the scan of the files failed."""
    if not isinstance(seen.resolved, Resolved):
        return None
    found = seen.resolved
    known = replace(
        rollout,
        artifact=found.artifact,
        plan=found.plan,
        gates=(found.scan,),
        notes=(*rollout.notes, *found.artifact.warnings, *found.notes),
    )
    if found.scan.outcome is Outcome.FAIL:
        return abort(known, Cause.GATE, found.scan.summary, now)
    return enter(known, Phase.BUILD, now)


def built(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the placement of the candidate."""
    if not isinstance(seen.built, Built):
        return None
    known = replace(rollout, candidate=seen.built.candidate, notes=(*rollout.notes, *seen.built.notes))
    return enter(known, Phase.PLACE, now)


def does_not_load(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Aborts the rollout, because the target could not load the candidate."""
    place = seen.placement
    if place is None or place.state is not PlacementState.FAILED:
        return None
    return abort(rollout, Cause.LOAD, f"does not load: {place.reason}", now)


def placed(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the gates once the candidate is ready. A rollback is promoted without them."""
    if not _is_ready(seen):
        return None
    if rollout.kind is Kind.ROLLBACK:
        return None if too_small(rollout, seen, now) else enter(rollout, Phase.PROMOTING, now, rollout.why)
    return enter(rollout, Phase.GATES, now)


def _is_ready(seen: Observed) -> bool:
    return seen.placement is not None and seen.placement.state is PlacementState.READY


def retiring(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the retirement of the model."""
    return enter(rollout, Phase.RETIRING, now, rollout.why) if rollout.kind is Kind.RETIRE else None


def scaling(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Applies the new scale. Nothing else changes, so there is no canary."""
    return enter(rollout, Phase.SCALING, now, rollout.why) if rollout.kind is Kind.SCALE else None


def placed_another_way(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Places the version again with other serving settings, which the gates found necessary."""
    if not isinstance(seen.examined, Examined) or seen.examined.instead is None:
        return None
    note = f"served one request at a time as {seen.examined.instead.id}: {seen.examined.reason}"
    known = replace(rollout, candidate=seen.examined.instead, notes=(*rollout.notes, note))
    return enter(known, Phase.PLACE, now)


def examined(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the approval, the canary or the promotion, or aborts the rollout where the gates failed."""
    if not isinstance(seen.examined, Examined):
        return None
    scan = rollout.gates[:1]
    known = replace(
        rollout,
        gates=(*scan, *seen.examined.gates),
        threshold=seen.examined.threshold,
        champion_threshold=seen.examined.champion_threshold or rollout.champion_threshold,
    )
    if not seen.examined.passed:
        return abort(known, Cause.GATE, seen.examined.reason, now)
    assert rollout.plan is not None
    if rollout.plan.approval_required:
        reason = "passed the gates; it waits for approval by a person other than the requester"
        return enter(known, Phase.APPROVAL, now, reason)
    return None if too_small(rollout, seen, now) else begin_traffic(known, seen, now)


def approved(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the canary, the promotion or the change of scale once another person has approved it."""
    order = next((o for o in seen.orders if o.kind == "approve" and may_approve(rollout, o)), None)
    if order is None or too_small(rollout, seen, now):
        return None
    known = replace(
        rollout,
        approved_by=order.actor.name,
        approver=order.actor,
        notes=(*rollout.notes, _approval(rollout, order)),
    )
    return scaling(known, seen, now) or begin_traffic(known, seen, now)


def _approval(rollout: Rollout, order: Order) -> str:
    """Returns a sentence that records the approver, the time and the results of the gates."""
    release = rollout.candidate.id if rollout.candidate else rollout.version
    why = f" ({order.why})" if order.why else ""
    gates = ", ".join(f"{gate.gate} {gate.outcome.value}" for gate in rollout.gates)
    who = f"{release} was approved by {order.actor.shown} at {order.at:%Y-%m-%d %H:%M:%S} UTC{why}"
    return f"{who}, on the request of {rollout.actor.shown} and with these results of the gates: {gates or 'none'}"


def waits_for_capacity(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Stores why the candidate does not get its first traffic yet. The phase does not change."""
    if not too_small(rollout, seen, now) or rollout.status.hold == seen.too_small:
        return None
    due = {
        Phase.PLACE: rollout.kind is Kind.ROLLBACK and _is_ready(seen),
        Phase.GATES: isinstance(seen.examined, Examined) and seen.examined.passed,
        Phase.APPROVAL: any(one.kind == "approve" and may_approve(rollout, one) for one in seen.orders),
    }
    if not due.get(rollout.status.phase, False):
        return None
    return replace(rollout, status=replace(rollout.status, hold=seen.too_small))


def begin_traffic(rollout: Rollout, seen: Observed, now: datetime) -> Rollout:
    """Begins the first canary step, or the promotion where there is no champion or the plan has no steps."""
    assert rollout.plan is not None
    known = replace(rollout, plan=replace(rollout.plan, slow_ms=seen.slow_ms, carried=seen.carried))
    if rollout.plan.champion is None or not rollout.plan.steps:
        why = (
            "passed the gates; there is no champion to compare with"
            if rollout.plan.champion is None
            else "passed the gates"
        )
        return enter(known, Phase.PROMOTING, now, why)
    return begin_step(_without_alerts(known) if _threshold_missing(known) else known, 0, now)


def _threshold_missing(rollout: Rollout) -> bool:
    return rollout.threshold is None or rollout.champion_threshold is None


def _without_alerts(rollout: Rollout) -> Rollout:
    """Removes alerts from the comparison, because without a threshold no alert would be counted. A note says so."""
    assert rollout.plan is not None
    plan = replace(rollout.plan, policy=replace(rollout.plan.policy, alerts=None))
    note = (
        "alerts are not compared: there is no alert threshold, because there is no evaluation set and the spec "
        "sets none"
    )
    return replace(rollout, plan=plan, notes=(*rollout.notes, note))
