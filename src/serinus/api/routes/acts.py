"""Routes that change something: deployments, orders, rollbacks, retirements, policies and outcomes. Every act is in the
audit record, and so is every refused one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request

from serinus.api import ports
from serinus.api.auth import Admin, Deployer, Viewer, check, known
from serinus.api.failures import NOT_FOUND, REFUSED, UNAVAILABLE
from serinus.api.record import audited
from serinus.api.services import Given
from serinus.core.errors import InvalidInput
from serinus.core.people import Access, Actor
from serinus.core.predictions import Label, OutcomeMatches
from serinus.resources import (
    Deployed,
    Deployment,
    Estimate,
    Message,
    OrderRequest,
    OutcomesTaken,
    PolicyRequest,
    Retirement,
    RollbackRequest,
    SentOutcome,
)
from serinus.spec import load

ACTS = {**NOT_FOUND, **REFUSED, **UNAVAILABLE}
router = APIRouter(tags=["acts"])

LABELS_A_REQUEST = 10_000


@router.post("/deployments", status_code=202, responses=ACTS)
def deploy(wish: Deployment, services: Given, actor: Deployer) -> Deployed:
    """Starts a rollout of a version by `ref`, by a spec, or by both."""
    details = {"supersede": wish.supersede, "with_spec": wish.spec is not None}
    with audited(services.world, actor, "deploy", wish.ref or _model_of(wish.spec), wish.why, details):
        return _shown(
            services.desk.deploy(
                ref=wish.ref,
                spec=wish.spec,
                actor=actor,
                why=wish.why,
                supersede=wish.supersede,
                source=wish.spec_name,
            )
        )


def _model_of(spec: str | None) -> str:
    """Returns the subject of the audit entry for a deployment by a spec alone."""
    try:
        return load(spec or "").model
    except InvalidInput:
        return "spec"


@router.post("/rollouts/{rollout_id}/orders", status_code=202, responses=ACTS)
def order(
    rollout_id: str, wish: OrderRequest, request: Request, services: Given, actor: Annotated[Actor, Depends(known)]
) -> Message:
    """Orders a rollout to promote, abort or approve. `rollout_id` may be the name of the model, for its rollout in
    flight. Needs the role `deploy`. An approval needs the role `approve` and a token of another owner than the
    requester's."""
    check(request, actor, Access.APPROVE if wish.kind == "approve" else Access.DEPLOY)
    with audited(services.world, actor, wish.kind, rollout_id, wish.why):
        return Message(message=services.desk.order(rollout_id, wish.kind, actor=actor, why=wish.why))


@router.post("/models/{model}/rollback", status_code=202, responses=ACTS)
def rollback(model: str, wish: RollbackRequest, services: Given, actor: Deployer) -> Deployed:
    """Gives all traffic back to an earlier release at once. Ends the rollout in flight."""
    with audited(services.world, actor, "rollback", model, wish.why, {"to": wish.to}):
        return _shown(services.desk.rollback(model, to=wish.to, actor=actor, why=wish.why))


@router.post("/models/{model}/retire", status_code=202, responses=ACTS)
def retire(model: str, wish: Retirement, services: Given, actor: Admin) -> Deployed:
    """Takes the model out of service without gates or canary. Its callers get HTTP 410. Its record stays, and a
    deployment brings it back."""
    with audited(services.world, actor, "retire", model, wish.why, {"abort": wish.abort}):
        return _shown(services.desk.retire(model, abort=wish.abort, actor=actor, why=wish.why))


@router.put("/models/{model}/policy", responses=ACTS)
def set_policy(model: str, wish: PolicyRequest, services: Given, actor: Deployer) -> Message:
    """Sets the policy of a model, which holds whatever a spec says. Loosening it needs the role `approve`."""
    required = wish.approval == "required"
    with audited(services.world, actor, "set-policy", model, wish.why, {"approval": wish.approval}):
        return Message(message=services.desk.set_approval(model, required, actor=actor, why=wish.why))


@router.post("/outcomes", responses=UNAVAILABLE)
def outcomes(
    sent: Annotated[list[SentOutcome], Body(max_length=LABELS_A_REQUEST)], services: Given, actor: Deployer
) -> OutcomesTaken:
    """Stores labels by prediction id or request id. They may be late, repeated or corrected. They are durable when
    answered."""
    now = services.world.clock.now()
    labels = [
        Label(
            o.request_id,
            o.label,
            o.observed_at or now,
            o.source or actor.name,
            o.prediction_id,
            o.caller,
            o.release,
        )
        for o in sent
    ]
    with audited(services.world, actor, "outcomes", "predictions", "", {"received": len(labels)}):
        return OutcomesTaken(received=len(labels), changed=services.world.log.label(labels))


@router.get("/outcomes", responses=UNAVAILABLE)
def outcomes_in_the_log(services: Given, _actor: Viewer) -> OutcomeMatches:
    """Counts the outcomes, and those that label nothing. `unmatched`: their request is not in the log. `ambiguous`:
    several requests of one model have the id that they name."""
    return services.world.log.matches()


def _shown(deployed: ports.Deployed) -> Deployed:
    advice = deployed.advice
    estimate = Estimate.model_validate({**advice.details, "text": advice.estimate}) if advice.details else None
    return Deployed(
        rollout=deployed.rollout,
        done=deployed.done,
        message=deployed.message,
        warnings=advice.warnings,
        estimate=estimate,
    )
