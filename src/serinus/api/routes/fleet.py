"""Reading: the fleet, models, rollouts, releases, specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from serinus.api.auth import Viewer
from serinus.api.failures import NOT_FOUND, UNAVAILABLE
from serinus.api.services import Given
from serinus.resources import (
    Difference,
    Explanation,
    Fleet,
    HeldPolicy,
    InitialSpec,
    ModelAlone,
    ShownRelease,
    ShownRollout,
    SilentModel,
    SpecInForce,
    SpecToCompare,
)

router = APIRouter(tags=["fleet"])

After = Annotated[str | None, Query(max_length=300, description="Id of the last one of the page before.")]
OfModel = Annotated[str | None, Query(description="Only of this model.")]


@router.get("/status")
def status(services: Given, _actor: Viewer) -> Fleet:
    """The whole fleet: models, rollouts in flight, processes, warnings."""
    return services.report.status()


@router.get("/silent-models")
def silent_models(services: Given, _actor: Viewer) -> Sequence[SilentModel]:
    """The models whose champion does not answer. One that is scaled to zero does: its first request activates it."""
    return services.report.silent_models()


@router.get("/models/{model}", responses=NOT_FOUND)
def model(model: str, services: Given, _actor: Viewer) -> ModelAlone:
    """One model of the status; `alerts`: of the champion's live requests, the share that alerts."""
    return services.report.model(model)


@router.get("/rollouts", responses=NOT_FOUND)
def rollouts(
    services: Given,
    _actor: Viewer,
    model: OfModel = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    after: After = None,
    in_flight: Annotated[bool, Query(description="Only those that have not ended.")] = False,
) -> Sequence[ShownRollout]:
    """Newest first, whole."""
    found = services.world.store.rollouts(model, limit, in_flight=in_flight, after=after)
    return [services.report.rollout(one) for one in found]


@router.get("/rollouts/{rollout_id}", responses=NOT_FOUND)
def rollout(rollout_id: str, services: Given, _actor: Viewer) -> ShownRollout:
    """The whole rollout; `progress`: of a canary step, how far it is and when it can be passed."""
    return services.report.rollout(services.world.store.rollout(rollout_id))


@router.get("/releases", responses=NOT_FOUND)
def releases(
    services: Given,
    _actor: Viewer,
    model: OfModel = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    after: After = None,
) -> Sequence[ShownRelease]:
    """Newest first, each with what became of it; without `limit` all."""
    return services.report.releases(model, limit, after)


@router.get("/releases/{wanted}/explain", responses=NOT_FOUND)
def explain(wanted: str, services: Given, _actor: Viewer) -> Explanation:
    """Why a release is where it is: every gate, every step with its numbers. `wanted`: a release, a rollout, or a model
    for its newest rollout."""
    return services.report.explain(wanted)


@router.get("/models/{model}/policy", responses=NOT_FOUND)
def policy(model: str, services: Given, _actor: Viewer) -> HeldPolicy:
    """What holds for every deployment of the model, whatever its spec says."""
    held = services.desk.policy(model)
    return HeldPolicy(
        model=model, approval="required" if held.approval_required else "none", except_of=held.loosened_by
    )


@router.get("/models/{model}/spec", responses=NOT_FOUND)
def spec_in_force(model: str, services: Given, _actor: Viewer) -> SpecInForce:
    """The spec that is in force, and where each value of it comes from."""
    return services.report.spec(model)


@router.post("/diff")
def diff(wish: SpecToCompare, services: Given, _actor: Viewer) -> Difference:
    """What a deployment of the spec would change, how long its canary would take, and what of it cannot be meant or
    reached. It changes nothing itself."""
    return services.report.changes_by(wish.spec, model=wish.model, source=wish.spec_name)


@router.get("/spec/{model}", responses={**NOT_FOUND, **UNAVAILABLE})
def spec(model: str, services: Given, _actor: Viewer) -> InitialSpec:
    """The model's ModelDeployment, or a first one with comments from what the registry knows."""
    return InitialSpec(model=model, spec=services.desk.initial_spec(model))
