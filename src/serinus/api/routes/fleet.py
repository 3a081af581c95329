"""Routes that read the fleet, models, rollouts, releases and specs."""

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
    """Returns the whole fleet: models, rollouts in flight, processes and warnings."""
    return services.report.status()


@router.get("/silent-models")
def silent_models(services: Given, _actor: Viewer) -> Sequence[SilentModel]:
    """Returns the models whose champion does not answer. A champion that is scaled to zero answers, because its first
    request activates it."""
    return services.report.silent_models()


@router.get("/models/{model}", responses=NOT_FOUND)
def model(model: str, services: Given, _actor: Viewer) -> ModelAlone:
    """Returns one model of the status. `alerts` is the share of the champion's live requests that alert."""
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
    """Returns whole rollouts, newest first."""
    found = services.world.store.rollouts(model, limit, in_flight=in_flight, after=after)
    return [services.report.rollout(one) for one in found]


@router.get("/rollouts/{rollout_id}", responses=NOT_FOUND)
def rollout(rollout_id: str, services: Given, _actor: Viewer) -> ShownRollout:
    """Returns the whole rollout. `progress` says how far a canary step is and when it can pass."""
    return services.report.rollout(services.world.store.rollout(rollout_id))


@router.get("/releases", responses=NOT_FOUND)
def releases(
    services: Given,
    _actor: Viewer,
    model: OfModel = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    after: After = None,
) -> Sequence[ShownRelease]:
    """Returns releases with what became of each, newest first. Without `limit` it returns all."""
    return services.report.releases(model, limit, after)


@router.get("/releases/{wanted}/explain", responses=NOT_FOUND)
def explain(wanted: str, services: Given, _actor: Viewer) -> Explanation:
    """Explains a release with the gates, steps and figures of its rollout. `wanted` is a release, a rollout, or a
    model, whose newest rollout is explained."""
    return services.report.explain(wanted)


@router.get("/models/{model}/policy", responses=NOT_FOUND)
def policy(model: str, services: Given, _actor: Viewer) -> HeldPolicy:
    """Returns the policy of the model, which holds for every deployment whatever its spec says."""
    held = services.desk.policy(model)
    return HeldPolicy(
        model=model, approval="required" if held.approval_required else "none", except_of=held.loosened_by
    )


@router.get("/models/{model}/spec", responses=NOT_FOUND)
def spec_in_force(model: str, services: Given, _actor: Viewer) -> SpecInForce:
    """Returns the spec in force, with the origin of each value."""
    return services.report.spec(model)


@router.post("/diff")
def diff(wish: SpecToCompare, services: Given, _actor: Viewer) -> Difference:
    """Returns what a deployment of the spec would change, how long its canary would take, and which of its values
    contradict each other or cannot be reached. Nothing is changed."""
    return services.report.changes_by(wish.spec, model=wish.model, source=wish.spec_name)


@router.get("/spec/{model}", responses={**NOT_FOUND, **UNAVAILABLE})
def spec(model: str, services: Given, _actor: Viewer) -> InitialSpec:
    """Returns the model's ModelDeployment, or a first one with comments from what the registry knows."""
    return InitialSpec(model=model, spec=services.desk.initial_spec(model))
