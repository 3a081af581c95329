"""Transitions of the canary: its steps, the judge's verdicts and how long a step may take."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from serinus.core.evidence import Verdict
from serinus.core.placement import PlacementState
from serinus.core.rollout import Assessment, Cause, Phase, Rollout, Status, StepRecord
from serinus.delivery.capacity import too_small
from serinus.delivery.observed import Observed
from serinus.delivery.phases import abort, close_step, enter
from serinus.delivery.world import split_token

MOST_CRASHES = 5
"""The number of workers in a row that a canary may lose before the rollout is aborted."""


def begin_step(rollout: Rollout, index: int, now: datetime) -> Rollout:
    """Begins the canary step `index` and ends the one before it."""
    assert rollout.plan is not None
    weight = rollout.plan.steps[index].weight
    record = StepRecord(index=index, weight=weight, split=split_token(rollout.id, index), started_at=now)
    status = Status(phase=Phase.CANARY, since=now, step=index)
    return replace(rollout, status=status, steps=(*close_step(rollout, now).steps, record))


def judged_bad(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Aborts the rollout, because the judge found the canary worse than tolerated."""
    if seen.assessment is None or seen.assessment.verdict is not Verdict.ABORT:
        return None
    return abort(_looked_at(rollout, seen.assessment, now), Cause.JUDGE, seen.assessment.reason, now)


def crashes_again_and_again(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Aborts the rollout, because the canary's workers end one after the other. Where another worker answers meanwhile,
    so few requests may fail that the judge tolerates it."""
    place = seen.placement
    if place is None or place.crashes < MOST_CRASHES or seen.champion_crashes >= MOST_CRASHES:
        return None
    last = f"; the last one {place.reason}" if place.reason and place.state is PlacementState.FAILED else ""
    reason = f"{place.crashes} workers in a row ended soon after they were started, or did not become ready{last}"
    return abort(_looked_at(rollout, seen.assessment, now), Cause.CRASHES, reason, now)


def traffic_taken_away(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Gives all traffic to the champion, because the canary answers hardly any request. A person decides what happens
    next."""
    if seen.assessment is None or not seen.assessment.suspend or rollout.status.suspended:
        return None
    known = _looked_at(rollout, seen.assessment, now)
    return replace(known, status=replace(known.status, suspended=True, hold=seen.assessment.reason))


def step_passed(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the next step, or the promotion after the last one, because the judge passed the present step."""
    if seen.assessment is None or seen.assessment.verdict is not Verdict.PROMOTE or rollout.status.suspended:
        return None
    if too_small(rollout, seen, now):
        return None
    assert rollout.plan is not None
    known = close_step(_looked_at(rollout, seen.assessment, now), now)
    if rollout.status.step + 1 < len(rollout.plan.steps):
        return begin_step(known, rollout.status.step + 1, now)
    return enter(known, Phase.PROMOTING, now, f"every step passed: {seen.assessment.reason}")


def share_drawn_again(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Begins the step again with another share of the entities, because the canary's share has none of the few that
    send requests. The time limit of the step is not extended."""
    if not seen.without_entities or rollout.status.suspended:
        return None
    salt, before = hashlib.sha256(rollout.salt.encode()).hexdigest()[:8], rollout.steps[-1]
    split = f"{split_token(rollout.id, before.index)}.{salt}"
    record = StepRecord(index=before.index, weight=before.weight, split=split, started_at=now)
    hold = "none of the entities that asked was in the canary's share; another share was drawn"
    # The record that is replaced held the time in which Serinus was stopped.
    since = rollout.status.since + timedelta(seconds=before.away_by(now))
    status = replace(rollout.status, since=since, hold=hold)
    return replace(rollout, salt=salt, status=status, steps=(*rollout.steps[:-1], record))


def out_of_patience(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Extends a step without a verdict once, by its own length. If there is no verdict after that, the rollout is
    aborted."""
    assert rollout.plan is not None
    limit = timedelta(seconds=rollout.plan.steps[rollout.status.step].maximum_seconds)
    waited = now - rollout.status.since - timedelta(seconds=_away(rollout, now))
    needs = seen.assessment.needs or seen.assessment.reason if seen.assessment else "the prediction log gives no counts"
    if seen.too_small:
        needs = seen.too_small
    if rollout.status.suspended:
        needs = rollout.status.hold
    if rollout.status.extended and waited >= 2 * limit:
        return abort(_looked_at(rollout, seen.assessment, now), Cause.PATIENCE, f"no verdict in {waited}: {needs}", now)
    if not rollout.status.extended and waited >= limit:
        known = _looked_at(rollout, seen.assessment, now)
        return replace(known, status=replace(known.status, extended=True, hold=needs))
    return None


def still_watching(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Stores the newest figures and the reason why the step has no verdict. The phase does not change."""
    if rollout.status.suspended:
        return None
    if seen.assessment is None:
        hold = "the prediction log gives no counts"
    elif seen.too_small:
        hold = seen.too_small
    else:
        hold = seen.assessment.reason if seen.assessment.verdict is Verdict.HOLD else ""
    known = _looked_at(rollout, seen.assessment, now)
    changed = replace(known, status=replace(known.status, hold=hold))
    return changed if changed != rollout else None


def _looked_at(rollout: Rollout, assessment: Assessment | None, now: datetime) -> Rollout:
    """Stores `assessment` in the present step. None: there were no figures, and the last assessment is kept."""
    if not rollout.steps:
        return rollout
    record = rollout.steps[-1]
    known = replace(record, assessment=assessment or record.assessment, looked_at=now, away=record.away_by(now))
    return replace(rollout, steps=(*rollout.steps[:-1], known))


def _away(rollout: Rollout, now: datetime) -> float:
    """Returns the seconds of the step in which Serinus was stopped. While the canary has no traffic they are not
    updated."""
    if not rollout.steps:
        return 0.0
    return rollout.steps[-1].away if rollout.status.suspended else rollout.steps[-1].away_by(now)
