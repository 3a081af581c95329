"""Descriptions of transitions: the event for people, and the entry for the audit record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from serinus.core.events import Event
from serinus.core.people import Access, Actor
from serinus.core.rollout import Kind, Phase, Rollout, aborted_text
from serinus.core.routing import WHOLE

ENGINE = Actor(name="serinus", access=Access.ADMIN, origin="engine")


def event_of(name: str, before: Rollout, after: Rollout, now: datetime) -> Event:
    """Returns the event of a transition."""
    kind, text = _words(name, before, after)
    return Event(now, after.model, after.id, kind, text, {"transition": name, "phase": after.status.phase.value})


def approver(rollout: Rollout) -> str:
    """Returns the approver of the rollout. Empty: there is none."""
    return rollout.approver.shown if rollout.approver else rollout.approved_by


def _words(name: str, before: Rollout, after: Rollout) -> tuple[str, str]:
    status = after.status
    asked = f"{after.model}@{after.version}"
    if name == "created":
        verb = {Kind.ROLLBACK: "rollback to", Kind.RETIRE: "retirement of", Kind.SCALE: "change of scale of"}.get(
            after.kind, "deployment of"
        )
        return "created", f"{verb} {asked} requested by {after.actor.shown}" + (f": {after.why}" if after.why else "")
    if name == "traffic-taken-away":
        return "suspended", f"{asked} no longer gets traffic, and the rollout is held: {status.hold}"
    if name == "waits-for-capacity":
        return name, f"{asked} waits for workers before it gets traffic: {status.hold}"
    if name == "share-drawn-again":
        why = "because none of those that asked was in its share"
        return name, f"the canary of {asked} gets other entities, {why}"
    if status.phase is Phase.CANARY and name != "out-of-patience":
        weight = after.plan.steps[status.step].weight if after.plan else 0
        passed = {
            Phase.CANARY: f"step {before.status.step + 1} passed",
            Phase.APPROVAL: f"approved by {approver(after)}",
        }.get(before.status.phase, "all gates passed")
        return f"canary-{weight}", f"{passed}: {asked} gets {100 * weight / WHOLE:g}% of the traffic"
    if name == "out-of-patience":
        return "extended", f"no verdict yet, the step is extended once: {status.hold}"
    if status.phase is Phase.ABORTING:
        return "aborting", f"{asked} is being {aborted_text(status.cause, status.reason)}"
    if status.phase is Phase.ABORTED:
        return "aborted", f"{asked} was {aborted_text(status.cause, status.reason)}"
    if status.phase is Phase.PROMOTING:
        approved = f"; approved by {approver(after)}" if before.status.phase is Phase.APPROVAL else ""
        return "promoting", f"{asked}: {status.reason}{approved}"
    if status.phase is Phase.RETIRING:
        return "retiring", f"{after.model} is being taken out of service by {after.actor.shown}: {after.why}"
    if status.phase is Phase.RETIRED:
        return "retired", f"{after.model} is retired. Its callers get HTTP 410; `serinus deploy` brings it back"
    if status.phase is Phase.SCALING:
        approved = f"; approved by {approver(after)}" if before.status.phase is Phase.APPROVAL else ""
        return "scaling", f"{asked} gets another scale without a canary, as {after.actor.shown} requested{approved}"
    if status.phase is Phase.SCALED:
        return "scaled", f"{asked} has its new scale"
    if status.phase is Phase.PROMOTED:
        done = "rolled-back" if after.kind is Kind.ROLLBACK else "promoted"
        return done, f"{asked} is champion as {after.candidate.id if after.candidate else after.version}"
    return name, f"{asked}: {name.replace('-', ' ')}" + (f" ({status.reason})" if status.reason else "")


def audit_of(name: str, after: Rollout) -> tuple[Actor, str, str, str, Mapping[str, Any]] | None:
    """Returns (actor, act, subject, reason, details) of a decision of Serinus itself. None: it was a person's act,
    which is recorded already."""
    named = {"approved": "begin-canary", "traffic-taken-away": "suspend-canary"}
    acts = {Phase.PROMOTING: "promote", Phase.ABORTING: "abort", Phase.RETIRING: "retire", Phase.SCALING: "scale"}
    if after.status.phase not in acts and name not in named:
        return None
    what = acts.get(after.status.phase) or named[name]
    details: dict[str, Any] = {
        "rollout": after.id,
        "release": after.candidate.id if after.candidate else None,
        "asked_by": after.actor.shown,
        "approved_by": approver(after) or None,
        "cause": after.status.cause.value,
        "gates": {g.gate: g.outcome.value for g in after.gates},
    }
    return ENGINE, what, f"{after.model}@{after.version}", after.status.reason, details
