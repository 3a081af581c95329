"""The plans of rollouts that need no resolving. Pure."""

from __future__ import annotations

from dataclasses import replace

from serinus.core.release import Release, Scale
from serinus.core.rollout import ModelState, Phase, Plan, Policy, Rollout


def of_scale(rollout: Rollout, state: ModelState, scale: Scale, *, approval: bool) -> Rollout:
    """Returns the rollout with a plan that gives the live release another scale. `approval`: after the approval of
    another person."""
    assert state.champion is not None
    champion = state.champion
    plan = Plan(champion.id, champion.version, (), Policy(), approval, champion.settings, scale=scale)
    status = rollout.status
    if approval:
        status = replace(status, phase=Phase.APPROVAL, reason="waits for approval by a person other than the requester")
    return replace(rollout, plan=plan, status=status)


def rollback_plan(state: ModelState, release: Release) -> Plan:
    """Returns the plan of a rollback to `release`."""
    champion = state.champion
    return Plan(
        champion=champion.id if champion else None,
        champion_version=champion.version if champion else None,
        steps=(),
        policy=Policy(),
        approval_required=False,
        settings=release.settings,
        scale=state.scale,
    )
