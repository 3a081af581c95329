"""Transitions that a person orders, and who may approve a rollout."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from serinus.core.people import Access
from serinus.core.rollout import Cause, Order, Phase, Rollout, Status
from serinus.delivery.capacity import too_small
from serinus.delivery.observed import Observed
from serinus.delivery.phases import abort, close_step, enter


def ordered_abort(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Aborts the rollout, because a person ordered it or another rollout replaces this one."""
    order = seen.order("abort", "supersede")
    if order is None:
        return None
    cause = Cause.SUPERSEDED if order.kind == "supersede" else Cause.OPERATOR
    return abort(rollout, cause, f"aborted by {order.actor.name}" + (f": {order.why}" if order.why else ""), now)


def ordered_promote(rollout: Rollout, seen: Observed, now: datetime) -> Rollout | None:
    """Promotes the candidate before the judge has decided, because a person ordered it."""
    order = seen.order("promote")
    if order is None or too_small(rollout, seen, now):
        return None
    reason = f"promoted by {order.actor.name} before the judge had decided" + (f": {order.why}" if order.why else "")
    if seen.too_small:
        reason += f"; {seen.too_small}"
    return enter(close_step(rollout, now), Phase.PROMOTING, now, reason)


def never_began(rollout: Rollout, successor: Rollout, now: datetime) -> Rollout:
    """Returns `rollout`, which waited for another one to end, as superseded by `successor`."""
    reason = f"superseded by {successor.actor.name} before it began: {successor.id} takes its place"
    return replace(rollout, status=Status(Phase.ABORTED, now, reason=reason, cause=Cause.SUPERSEDED))


def may_approve(rollout: Rollout, order: Order) -> bool:
    """Whether the author of the order may approve: with a role that can, and neither the requester nor the same person
    under another token."""
    return not order.actor.may_be(rollout.actor) and order.actor.access in (Access.APPROVE, Access.ADMIN)
