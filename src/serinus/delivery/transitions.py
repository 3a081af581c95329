"""What can happen to a rollout, as a table: read it from top to bottom, the first that applies happens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from serinus.core.evidence import Verdict
from serinus.core.examination import GateResult, Outcome
from serinus.core.people import Access
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Artifact, Release
from serinus.core.rollout import Assessment, Cause, Kind, Order, Phase, Plan, Rollout, Status, StepRecord
from serinus.delivery.world import split_token


@dataclass(frozen=True, slots=True)
class Resolved:
    """The version's files are here, scanned, and the plan is made."""

    artifact: Artifact
    plan: Plan
    scan: GateResult
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    candidate: Release
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """The gates' results and what they mean together."""

    gates: tuple[GateResult, ...]
    passed: bool
    reason: str
    threshold: float | None = None
    champion_threshold: float | None = None
    """Of the champion, by the same rule on the same rows; None: as it was."""
    instead: Release | None = None
    """The same version with other serving settings, to be placed and examined in its place."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that cannot succeed, whatever the number of tries."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What the engine saw this tick. None: not known (yet), which is never good news."""

    resolved: Resolved | Failure | None = None
    built: Built | Failure | None = None
    placement: Placement | None = None
    examined: Examined | Failure | None = None
    slow_ms: float | None = None
    assessment: Assessment | None = None
    without_entities: bool = False
    """None of the few entities that ask is in the canary's share."""
    orders: Sequence[Order] = ()
    settled: bool = False
    """Routing, aliases and Git are as the status says."""


Change = Callable[[Rollout, Observed, datetime], Rollout | None]


@dataclass(frozen=True, slots=True)
class Transition:
    """`apply` answers the rollout as it is afterwards, or None where the transition does not apply."""

    name: str
    sources: frozenset[Phase]
    apply: Change


def _enter(rollout: Rollout, phase: Phase, now: datetime, reason: str = "", cause: Cause = Cause.NONE) -> Rollout:
    return replace(rollout, status=Status(phase=phase, since=now, reason=reason, cause=cause))


def _abort(rollout: Rollout, cause: Cause, reason: str, now: datetime) -> Rollout:
    return _enter(_close_step(rollout, now), Phase.ABORTING, now, reason, cause)


def _order(seen: Observed, *kinds: str) -> Order | None:
    return next((o for o in seen.orders if o.kind in kinds), None)


# --- orders -----------------------------------------------------------------------------------------------


def ordered_abort(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    order = _order(seen, "abort", "supersede")
    if order is None:
        return None
    cause = Cause.SUPERSEDED if order.kind == "supersede" else Cause.OPERATOR
    return _abort(rollout, cause, f"aborted by {order.actor.name}" + (f": {order.why}" if order.why else ""), now)


def never_began(rollout: Rollout, successor: Rollout, now: datetime) -> Rollout:
    """Of one that waited for another to end, and gave way to `successor` meanwhile."""
    reason = f"superseded by {successor.actor.name} before it began: {successor.id} takes its place"
    return replace(rollout, status=Status(Phase.ABORTED, now, reason=reason, cause=Cause.SUPERSEDED))


def ordered_promote(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    order = _order(seen, "promote")
    if order is None:
        return None
    reason = f"promoted by {order.actor.name} before the judge had decided" + (f": {order.why}" if order.why else "")
    return _enter(_close_step(rollout, now), Phase.PROMOTING, now, reason)


def retiring(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    return _enter(rollout, Phase.RETIRING, now, rollout.why) if rollout.kind is Kind.RETIRE else None


def scaling(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Nothing else changes, so that there is nothing to compare."""
    return _enter(rollout, Phase.SCALING, now, rollout.why) if rollout.kind is Kind.SCALE else None


# --- before any traffic -----------------------------------------------------------------------------------


def failed(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    result = {
        Phase.RESOLVE: seen.resolved,
        Phase.BUILD: seen.built,
        Phase.GATES: seen.examined,
    }.get(rollout.status.phase)
    return _abort(rollout, result.cause, result.reason, now) if isinstance(result, Failure) else None


def resolved(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
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
        return _abort(known, Cause.GATE, found.scan.summary, now)
    return _enter(known, Phase.BUILD, now)


def built(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    if not isinstance(seen.built, Built):
        return None
    known = replace(rollout, candidate=seen.built.candidate, notes=(*rollout.notes, *seen.built.notes))
    return _enter(known, Phase.PLACE, now)


def does_not_load(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    place = seen.placement
    if place is None or place.state is not PlacementState.FAILED:
        return None
    return _abort(rollout, Cause.LOAD, f"does not load: {place.reason}", now)


def placed(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    if seen.placement is None or seen.placement.state is not PlacementState.READY:
        return None
    if rollout.kind is Kind.ROLLBACK:
        return _enter(rollout, Phase.PROMOTING, now, rollout.why)
    return _enter(rollout, Phase.GATES, now)


def placed_another_way(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    if not isinstance(seen.examined, Examined) or seen.examined.instead is None:
        return None
    note = f"served one request at a time as {seen.examined.instead.id}: {seen.examined.reason}"
    known = replace(rollout, candidate=seen.examined.instead, notes=(*rollout.notes, note))
    return _enter(known, Phase.PLACE, now)


def examined(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
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
        return _abort(known, Cause.GATE, seen.examined.reason, now)
    assert rollout.plan is not None
    if rollout.plan.approval_required:
        reason = "passed the gates; it waits for approval by a person other than the requester"
        return _enter(known, Phase.APPROVAL, now, reason)
    return _begin_traffic(known, seen, now)


def approved(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    order = next((o for o in seen.orders if o.kind == "approve" and may_approve(rollout, o)), None)
    if order is None:
        return None
    known = replace(
        rollout,
        approved_by=order.actor.name,
        approver=order.actor,
        notes=(*rollout.notes, _approval(rollout, order)),
    )
    return scaling(known, seen, now) or _begin_traffic(known, seen, now)


def _approval(rollout: Rollout, order: Order) -> str:
    """Who approved what, when, and on which evidence."""
    release = rollout.candidate.id if rollout.candidate else rollout.version
    why = f" ({order.why})" if order.why else ""
    gates = ", ".join(f"{gate.gate} {gate.outcome.value}" for gate in rollout.gates)
    who = f"{release} was approved by {order.actor.shown} at {order.at:%Y-%m-%d %H:%M:%S} UTC{why}"
    return f"{who}, on the request of {rollout.actor.shown} and with these results of the gates: {gates or 'none'}"


def may_approve(rollout: Rollout, order: Order) -> bool:
    """Who approves is not who asked, by another token neither, and holds the role."""
    return not order.actor.may_be(rollout.actor) and order.actor.access in (Access.APPROVE, Access.ADMIN)


def _begin_traffic(rollout: Rollout, seen: Observed, now: datetime) -> Rollout:
    assert rollout.plan is not None
    if rollout.plan.champion is None or not rollout.plan.steps:
        why = (
            "passed the gates; there is no champion to compare with"
            if rollout.plan.champion is None
            else "passed the gates"
        )
        return _enter(rollout, Phase.PROMOTING, now, why)
    known = replace(rollout, plan=replace(rollout.plan, slow_ms=seen.slow_ms))
    return _begin_step(_without_alerts(known) if _threshold_missing(known) else known, 0, now)


def _threshold_missing(rollout: Rollout) -> bool:
    return rollout.threshold is None or rollout.champion_threshold is None


def _without_alerts(rollout: Rollout) -> Rollout:
    """Alerts that nobody counts must not look like none: they are not judged, and the verdict says so."""
    assert rollout.plan is not None
    plan = replace(rollout.plan, policy=replace(rollout.plan.policy, alerts=None))
    note = (
        "alerts are not compared: there is no alert threshold, because there is no evaluation set and the spec "
        "sets none"
    )
    return replace(rollout, plan=plan, notes=(*rollout.notes, note))


# --- canary -----------------------------------------------------------------------------------------------


def _begin_step(rollout: Rollout, index: int, now: datetime) -> Rollout:
    assert rollout.plan is not None
    weight = rollout.plan.steps[index].weight
    record = StepRecord(index=index, weight=weight, split=split_token(rollout.id, index), started_at=now)
    status = Status(phase=Phase.CANARY, since=now, step=index)
    return replace(rollout, status=status, steps=(*_close_step(rollout, now).steps, record))


def _close_step(rollout: Rollout, now: datetime) -> Rollout:
    if not rollout.steps or rollout.steps[-1].ended_at is not None:
        return rollout
    return replace(rollout, steps=(*rollout.steps[:-1], replace(rollout.steps[-1], ended_at=now)))


def _looked_at(rollout: Rollout, assessment: Assessment | None, now: datetime) -> Rollout:
    """`assessment`: None where there were no figures; the last one is kept."""
    if not rollout.steps:
        return rollout
    record = rollout.steps[-1]
    known = replace(record, assessment=assessment or record.assessment, looked_at=now, away=record.away_by(now))
    return replace(rollout, steps=(*rollout.steps[:-1], known))


def judged_bad(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    if seen.assessment is None or seen.assessment.verdict is not Verdict.ABORT:
        return None
    return _abort(_looked_at(rollout, seen.assessment, now), Cause.JUDGE, seen.assessment.reason, now)


def traffic_taken_away(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """The canary answers hardly any request: the champion has all traffic at once, and a person decides the rest."""
    if seen.assessment is None or not seen.assessment.suspend or rollout.status.suspended:
        return None
    known = _looked_at(rollout, seen.assessment, now)
    return replace(known, status=replace(known.status, suspended=True, hold=seen.assessment.reason))


def step_passed(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    if seen.assessment is None or seen.assessment.verdict is not Verdict.PROMOTE or rollout.status.suspended:
        return None
    assert rollout.plan is not None
    known = _close_step(_looked_at(rollout, seen.assessment, now), now)
    if rollout.status.step + 1 < len(rollout.plan.steps):
        return _begin_step(known, rollout.status.step + 1, now)
    return _enter(known, Phase.PROMOTING, now, f"every step passed: {seen.assessment.reason}")


def share_drawn_again(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """The step begins anew with another draw of the entities that are the canary's; its patience goes on."""
    if not seen.without_entities or rollout.status.suspended:
        return None
    salt, before = hashlib.sha256(rollout.salt.encode()).hexdigest()[:8], rollout.steps[-1]
    split = f"{split_token(rollout.id, before.index)}.{salt}"
    record = StepRecord(index=before.index, weight=before.weight, split=split, started_at=now)
    hold = "none of the entities that asked was in the canary's share; another share was drawn"
    # Time in which Serinus was stopped was kept in the record that goes.
    since = rollout.status.since + timedelta(seconds=before.away_by(now))
    status = replace(rollout.status, since=since, hold=hold)
    return replace(rollout, salt=salt, status=status, steps=(*rollout.steps[:-1], record))


def out_of_patience(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """A step without a verdict is extended once by its own length, then the rollout goes back: never promoted."""
    assert rollout.plan is not None
    limit = timedelta(seconds=rollout.plan.steps[rollout.status.step].maximum_seconds)
    waited = now - rollout.status.since - timedelta(seconds=_away(rollout, now))
    needs = seen.assessment.needs or seen.assessment.reason if seen.assessment else "the prediction log gives no counts"
    if rollout.status.suspended:
        needs = rollout.status.hold
    if rollout.status.extended and waited >= 2 * limit:
        return _abort(
            _looked_at(rollout, seen.assessment, now), Cause.PATIENCE, f"no verdict in {waited}: {needs}", now
        )
    if not rollout.status.extended and waited >= limit:
        known = _looked_at(rollout, seen.assessment, now)
        return replace(known, status=replace(known.status, extended=True, hold=needs))
    return None


def _away(rollout: Rollout, now: datetime) -> float:
    """Seconds of the step in which Serinus was stopped. One whose traffic was taken away is not looked at."""
    if not rollout.steps:
        return 0.0
    return rollout.steps[-1].away if rollout.status.suspended else rollout.steps[-1].away_by(now)


def still_watching(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Nothing changes but what is known: the newest figures are kept, and what is missing is said."""
    if rollout.status.suspended:
        return None
    if seen.assessment is None:
        hold = "the prediction log gives no counts"
    else:
        hold = seen.assessment.reason if seen.assessment.verdict is Verdict.HOLD else ""
    known = _looked_at(rollout, seen.assessment, now)
    changed = replace(known, status=replace(known.status, hold=hold))
    return changed if changed != rollout else None


# --- ends -------------------------------------------------------------------------------------------------


def promoted(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    return _enter(rollout, Phase.PROMOTED, now, rollout.status.reason) if seen.settled else None


def aborted(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    return _enter(rollout, Phase.ABORTED, now, rollout.status.reason, rollout.status.cause) if seen.settled else None


def retired(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    return _enter(rollout, Phase.RETIRED, now, rollout.status.reason) if seen.settled else None


def scaled(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    return _enter(rollout, Phase.SCALED, now, rollout.status.reason) if seen.settled else None


BEFORE_PROMOTION = frozenset({Phase.RESOLVE, Phase.BUILD, Phase.PLACE, Phase.GATES, Phase.APPROVAL, Phase.CANARY})
CANARY = frozenset({Phase.CANARY})

TRANSITIONS = (
    Transition("ordered-abort", BEFORE_PROMOTION | {Phase.SCALING}, ordered_abort),
    Transition("retiring", frozenset({Phase.PLACE}), retiring),
    Transition("scaling", frozenset({Phase.PLACE}), scaling),
    Transition("ordered-promote", CANARY, ordered_promote),
    Transition("failed", frozenset({Phase.RESOLVE, Phase.BUILD, Phase.GATES}), failed),
    Transition("resolved", frozenset({Phase.RESOLVE}), resolved),
    Transition("built", frozenset({Phase.BUILD}), built),
    Transition("does-not-load", frozenset({Phase.PLACE, Phase.GATES}), does_not_load),
    Transition("placed", frozenset({Phase.PLACE}), placed),
    Transition("placed-another-way", frozenset({Phase.GATES}), placed_another_way),
    Transition("examined", frozenset({Phase.GATES}), examined),
    Transition("approved", frozenset({Phase.APPROVAL}), approved),
    Transition("judged-bad", CANARY, judged_bad),
    Transition("traffic-taken-away", CANARY, traffic_taken_away),
    Transition("step-passed", CANARY, step_passed),
    Transition("share-drawn-again", CANARY, share_drawn_again),
    Transition("out-of-patience", CANARY, out_of_patience),
    Transition("still-watching", CANARY, still_watching),
    Transition("promoted", frozenset({Phase.PROMOTING}), promoted),
    Transition("aborted", frozenset({Phase.ABORTING}), aborted),
    Transition("retired", frozenset({Phase.RETIRING}), retired),
    Transition("scaled", frozenset({Phase.SCALING}), scaled),
)


def advance(rollout: Rollout, seen: Observed, now: datetime) -> tuple[str, Rollout] | None:
    """The transition that happens, by name, and the rollout after it; None: nothing changes."""
    for transition in TRANSITIONS:
        if rollout.status.phase not in transition.sources:
            continue
        after = transition.apply(rollout, seen, now)
        if after is not None:
            return transition.name, after
    return None
