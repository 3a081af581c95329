"""What takes how much disk, and removing what nothing needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from serinus.api.auth import Admin, Viewer
from serinus.api.record import audited
from serinus.api.services import Given

router = APIRouter(tags=["disk"])


class Named(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["environments", "artifacts", "graphs", "logs"]
    name: Annotated[str, Field(min_length=1, max_length=512)]


class Unneeded(BaseModel):
    """What is to be removed, as `GET /v1/disk` names it."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[Named], Field(max_length=20_000)]


@router.get("/disk")
def disk(services: Given, _actor: Viewer) -> Mapping[str, Any]:
    """`kinds`: bytes of each kind. `items`: each environment, artifact, graph and log, the largest first; `needed` says
    why it is kept and is empty where nothing needs it; `freed` are the bytes that it does not share with others."""
    return services.disk.usage()


@router.post("/disk/prune")
def prune(wish: Unneeded, services: Given, actor: Admin) -> Mapping[str, Any]:
    """Removes those of the items that nothing needs by now. A deployment that needs one again makes it again."""
    counted = {"items": len(wish.items)}
    with audited(services.world, actor, "prune", "disk", "", counted):
        return services.disk.prune({(one.kind, one.name) for one in wish.items})
