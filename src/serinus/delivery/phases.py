"""Entering a phase, and ending a step. The transitions are built from these functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from serinus.core.rollout import Cause, Phase, Rollout, Status


def enter(rollout: Rollout, phase: Phase, now: datetime, reason: str = "", cause: Cause = Cause.NONE) -> Rollout:
    """Returns the rollout in another phase, which began at `now`."""
    return replace(rollout, status=Status(phase=phase, since=now, reason=reason, cause=cause))


def abort(rollout: Rollout, cause: Cause, reason: str, now: datetime) -> Rollout:
    """Returns the rollout in the phase `aborting`, with its step ended."""
    return enter(close_step(rollout, now), Phase.ABORTING, now, reason, cause)


def close_step(rollout: Rollout, now: datetime) -> Rollout:
    """Returns the rollout with its last step ended at `now`, if that has not ended before."""
    if not rollout.steps or rollout.steps[-1].ended_at is not None:
        return rollout
    return replace(rollout, steps=(*rollout.steps[:-1], replace(rollout.steps[-1], ended_at=now)))
