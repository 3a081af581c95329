"""Rollouts: in short, whole, and explained. Only reads."""

from __future__ import annotations

from dataclasses import replace

from pydantic import TypeAdapter

from serinus.core.errors import NotFound
from serinus.core.redaction import all_without_credentials
from serinus.core.release import Artifact, Requirements
from serinus.core.rollout import Rollout
from serinus.core.routing import WHOLE
from serinus.engine.distrust import found_of
from serinus.engine.happenings import approver
from serinus.engine.queries.progress import progress
from serinus.engine.queries.watch import watch_of
from serinus.engine.reconcile.watching import stored
from serinus.engine.world import World
from serinus.resources import (
    EventLine,
    Explanation,
    Gate,
    Metric,
    Progress,
    RolloutSummary,
    ShownRollout,
)

EVENTS_TOLD = 2_000

_requirements = TypeAdapter(Requirements)


def shown_rollout(world: World, rollout: Rollout) -> ShownRollout:
    """Returns the whole rollout and its progress."""
    return ShownRollout.of(rollout, progress=progress(world, rollout))


def summary(rollout: Rollout, how_far: Progress | None) -> RolloutSummary:
    """Returns the rollout in short."""
    status = rollout.status
    last = rollout.steps[-1] if rollout.steps else None
    assessment = last.assessment if last else None
    return RolloutSummary(
        id=rollout.id,
        model=rollout.model,
        kind=rollout.kind.value,
        version=rollout.version,
        release=rollout.candidate.id if rollout.candidate else None,
        phase=status.phase.value,
        since=status.since,
        created_at=rollout.created_at,
        asked_by=rollout.actor.shown,
        approved_by=approver(rollout),
        why=rollout.why,
        step=status.step,
        steps=[step.weight / WHOLE for step in rollout.plan.steps] if rollout.plan else [],
        reason=status.reason,
        cause=status.cause.value,
        hold=status.hold,
        suspended=status.suspended,
        needs=assessment.needs if assessment else "",
        metrics=[Metric.model_validate(one) for one in assessment.metrics] if assessment else [],
        gates=[Gate(gate=one.gate, outcome=one.outcome.value, summary=one.summary) for one in rollout.gates],
        notes=rollout.notes,
        progress=how_far,
    )


def explanation(world: World, wanted: str, confinement: str) -> Explanation:
    """Returns a rollout, explained, by its id, its release or its model. For a model it is the newest one.

    `confinement` says in words how models are confined. Raises NotFound.
    """
    rollout = _find(world, wanted)
    found, now = found_of(world.store), world.clock.now()
    watch = watch_of(stored(world, rollout.model), rollout.candidate.id, now) if rollout.candidate else None
    whole = replace(rollout, artifact=_without_credentials(rollout.artifact)) if rollout.artifact else rollout
    how_far = progress(world, rollout)
    return Explanation.of(
        whole,
        progress=how_far,
        events=[
            EventLine(at=one.at, kind=one.kind, text=one.text)
            for one in world.store.events(rollout=rollout.id, limit=EVENTS_TOLD)
        ],
        summary=summary(rollout, how_far),
        confinement=confinement,
        rechecked=found.of(rollout.candidate),
        distrust=found.why(rollout.candidate),
        watch=watch if watch and watch.rollout == rollout.id else None,
    )


def _without_credentials(artifact: Artifact) -> Artifact:
    """Removes credentials from an artifact that an earlier version has stored."""
    told = _requirements.dump_python(artifact.requirements, mode="json")
    return replace(artifact, requirements=_requirements.validate_python(all_without_credentials(told)))


def _find(world: World, wanted: str) -> Rollout:
    try:
        return world.store.rollout(wanted)
    except NotFound:
        for found in world.store.rollouts(limit=1, release=wanted):
            return found
        for newest in world.store.rollouts(wanted, limit=1):
            return newest
        raise
