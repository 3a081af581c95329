"""Reading: the fleet, models, rollouts, releases, specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from serinus.api.auth import Viewer
from serinus.api.services import Given

router = APIRouter(tags=["fleet"])

After = Annotated[str | None, Query(max_length=300)]


@router.get("/status")
def status(services: Given, _actor: Viewer) -> Mapping[str, Any]:
    """The whole fleet: models, rollouts in flight, processes, warnings."""
    return services.report.status()


@router.get("/models/{model}")
def model(model: str, services: Given, _actor: Viewer) -> Mapping[str, Any]:
    """One model of the status; `alerts`: of the champion's live requests, the share that alerts."""
    return {**services.report.model(model), "alerts": services.report.alerts(model)}


@router.get("/rollouts")
def rollouts(
    services: Given,
    _actor: Viewer,
    model: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    after: After = None,
    in_flight: bool = False,
) -> Sequence[Mapping[str, Any]]:
    """Newest first, whole. `after`: the id of the last one of the page before. `in_flight`: only those that have not
    ended."""
    found = services.world.store.rollouts(model, limit, in_flight=in_flight, after=after)
    return [services.report.rollout(one) for one in found]


@router.get("/rollouts/{rollout_id}")
def rollout(rollout_id: str, services: Given, _actor: Viewer) -> Mapping[str, Any]:
    """Whole; `progress`: of a canary step, how far it is and when it can be passed."""
    return services.report.rollout(services.world.store.rollout(rollout_id))


@router.get("/releases")
def releases(
    services: Given,
    _actor: Viewer,
    model: str | None = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    after: After = None,
) -> Sequence[Mapping[str, Any]]:
    """Newest first, each with what became of it; without `limit` all. `after`: the id of the last one of the page
    before."""
    return services.report.releases(model, limit, after)


@router.get("/releases/{wanted}/explain")
def explain(wanted: str, services: Given, _actor: Viewer) -> Mapping[str, Any]:
    """Why a release is where it is: every gate, every step with its numbers. `wanted`: a release, a rollout, or a model
    for its newest rollout."""
    return services.report.explain(wanted)


@router.get("/models/{model}/policy")
def policy(model: str, services: Given, _actor: Viewer) -> Mapping[str, str]:
    """What holds for every deployment of the model, whatever its spec says. `except_of`: whose deployments need an
    approval all the same, because they said that none is needed."""
    held = services.desk.policy(model)
    approval = "required" if held.approval_required else "none"
    return {"model": model, "approval": approval, "except_of": held.loosened_by}


class Compared(BaseModel):
    """A spec (YAML text) that is compared with the one that is kept."""

    model_config = ConfigDict(extra="forbid")

    spec: Annotated[str, Field(max_length=200_000)]
    spec_name: Annotated[str, Field(min_length=1, max_length=4096)] = "<spec>"
    """What errors call the spec: the name of its file."""
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Needed where the spec does not name it."""


@router.get("/models/{model}/spec")
def spec_in_force(model: str, services: Given, _actor: Viewer) -> Mapping[str, Any]:
    """The spec that is in force. Each of `fields` has a `text` as in YAML and an `origin`: `file` (with the `line`),
    `default`, or `policy`. `not_yet`: what the champion does not go by yet."""
    return services.report.spec(model)


@router.post("/diff")
def diff(wish: Compared, services: Given, _actor: Viewer) -> Mapping[str, Any]:
    """What a deployment of the spec would change, how long its canary would take, and what of it cannot be meant or
    reached. It changes nothing itself."""
    return services.report.changes_by(wish.spec, model=wish.model, source=wish.spec_name)


@router.get("/spec/{model}")
def spec(model: str, services: Given, _actor: Viewer) -> Mapping[str, str]:
    """The model's ModelDeployment, or a first one with comments from what the registry knows."""
    return {"model": model, "spec": services.desk.initial_spec(model)}
