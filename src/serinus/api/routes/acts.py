"""Doing: deploy, order, roll back, attach outcomes. Every act is in the audit record, and every refused one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from serinus.api.auth import Admin, Deployer, Viewer, check, whoever
from serinus.api.ports import Deployed
from serinus.api.record import audited
from serinus.api.services import Given
from serinus.core.errors import InvalidInput
from serinus.core.people import Access, Actor
from serinus.core.predictions import Label
from serinus.core.text import one_line
from serinus.lib.times import in_utc
from serinus.spec import load

router = APIRouter(tags=["acts"])

LABELS_A_REQUEST = 10_000

Why = Annotated[str, Field(max_length=2000), AfterValidator(one_line)]
Name = Annotated[str, Field(min_length=1, max_length=256)]


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: Why = ""


class Deployment(Wish):
    """A version by `ref` (`card-fraud@7`, `card-fraud@challenger`), a spec (YAML text), or both."""

    ref: Name | None = None
    spec: Annotated[str, Field(max_length=200_000)] | None = None
    spec_name: Annotated[str, Field(min_length=1, max_length=4096)] = "<spec>"
    """What errors call the spec: the name of its file."""
    supersede: bool = False
    """Take the place of a rollout of the same model that is in flight."""


class OrderWish(Wish):
    kind: Literal["promote", "abort", "approve"]


class RollbackWish(Wish):
    to: Name | None = None
    """A release id or a version; without it the champion before."""


class Retirement(Wish):
    why: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(one_line)]
    abort: bool = False
    """End a rollout of the model that is in flight."""


class PolicyWish(Wish):
    approval: Literal["none", "required"]
    """`required`: somebody other than who asked approves each version before it gets traffic."""


def _zero_or_one(label: float) -> float:
    if label not in (0.0, 1.0):
        raise ValueError("a label is 0 or 1")
    return label


class Outcome(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    request_id: Annotated[str, Field(max_length=200)] = ""
    """The caller's. One that several requests of a model have labels none of them."""
    prediction_id: Annotated[str, Field(max_length=200)] = ""
    """Serinus' own, answered as `x-serinus-prediction-id`. One of the two ids is needed."""
    caller: Annotated[str, Field(max_length=200)] = ""
    """If given, the request's: the name of its API key."""
    release: Annotated[str, Field(max_length=200)] = ""
    """If given, the request's."""
    label: Annotated[float, AfterValidator(_zero_or_one)]
    """1 for fraud, 0 for none."""
    observed_at: Annotated[datetime, AfterValidator(in_utc)] | None = None
    """Without an offset it is UTC; without a time at all it is now."""
    source: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _names_a_request(self) -> Outcome:
        if not (self.request_id or self.prediction_id):
            raise ValueError("an outcome needs a prediction_id or a request_id")
        return self


@router.post("/deployments", status_code=202)
def deploy(wish: Deployment, services: Given, actor: Deployer) -> Mapping[str, Any]:
    """`estimate`: of the canary, from the traffic that the model has now; null where it has none or nothing is live.
    `warnings`: what the spec asks for that contradicts itself or cannot be reached."""
    details = {"supersede": wish.supersede, "with_spec": wish.spec is not None}
    with audited(services.world, actor, "deploy", wish.ref or _model_of(wish.spec), wish.why, details):
        return _as_json(
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
    """What the audit calls a deployment by a spec alone."""
    try:
        return load(spec or "").model
    except InvalidInput:
        return "spec"


@router.post("/rollouts/{rollout_id}/orders", status_code=202)
def order(
    rollout_id: str, wish: OrderWish, request: Request, services: Given, actor: Annotated[Actor, Depends(whoever)]
) -> Mapping[str, str]:
    """`rollout_id` may be the model's name: the rollout of it that is in flight."""
    check(request, actor, Access.APPROVE if wish.kind == "approve" else Access.DEPLOY)
    with audited(services.world, actor, wish.kind, rollout_id, wish.why):
        return {"message": services.desk.order(rollout_id, wish.kind, actor=actor, why=wish.why)}


@router.post("/models/{model}/rollback", status_code=202)
def rollback(model: str, wish: RollbackWish, services: Given, actor: Deployer) -> Mapping[str, Any]:
    with audited(services.world, actor, "rollback", model, wish.why, {"to": wish.to}):
        return _as_json(services.desk.rollback(model, to=wish.to, actor=actor, why=wish.why))


@router.post("/models/{model}/retire", status_code=202)
def retire(model: str, wish: Retirement, services: Given, actor: Admin) -> Mapping[str, Any]:
    """Takes the model out of service: its callers get 410. Its record stays, and a deployment brings it back. Needs
    the role admin: no gate and no judge looks at it."""
    with audited(services.world, actor, "retire", model, wish.why, {"abort": wish.abort}):
        return _as_json(services.desk.retire(model, abort=wish.abort, actor=actor, why=wish.why))


@router.put("/models/{model}/policy")
def set_policy(model: str, wish: PolicyWish, services: Given, actor: Deployer) -> Mapping[str, str]:
    """A policy holds whatever a spec says. To loosen it takes the role approve."""
    required = wish.approval == "required"
    with audited(services.world, actor, "set-policy", model, wish.why, {"approval": wish.approval}):
        return {"message": services.desk.set_approval(model, required, actor=actor, why=wish.why)}


@router.post("/outcomes")
def outcomes(
    sent: Annotated[list[Outcome], Body(max_length=LABELS_A_REQUEST)], services: Given, actor: Deployer
) -> Mapping[str, int]:
    """Labels by prediction id or request id: late, repeated or corrected. Durable when answered."""
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
        return {"received": len(labels), "changed": services.world.log.label(labels)}


@router.get("/outcomes")
def outcomes_in_the_log(services: Given, _actor: Viewer) -> Mapping[str, int]:
    """How many outcomes there are, and how many of them label nothing: `unmatched`, their request is not in the log;
    `ambiguous`, several requests of one model have the id by which they name theirs."""
    return asdict(services.world.log.matches())


def _as_json(deployed: Deployed) -> Mapping[str, Any]:
    advice = deployed.advice
    return {
        "rollout": deployed.rollout,
        "done": deployed.done,
        "message": deployed.message,
        "warnings": list(advice.warnings),
        "estimate": {**advice.details, "text": advice.estimate} if advice.details else None,
    }
