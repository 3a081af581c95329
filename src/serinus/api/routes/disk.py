"""Routes for disk usage, and for removing what nothing needs."""

from __future__ import annotations

from fastapi import APIRouter

from serinus.api.auth import Admin, Viewer
from serinus.api.failures import UNAVAILABLE
from serinus.api.record import audited
from serinus.api.services import Given
from serinus.resources import DiskUsage, Pruned, PruneRequest

router = APIRouter(tags=["disk"], responses=UNAVAILABLE)


@router.get("/disk")
def disk(services: Given, _actor: Viewer) -> DiskUsage:
    """Returns the bytes of each kind, and every environment, artifact, graph and log, the largest first."""
    return services.disk.usage()


@router.post("/disk/prune")
def prune(wish: PruneRequest, services: Given, actor: Admin) -> Pruned:
    """Removes those of the items that nothing needs. They are made again when a deployment needs them."""
    counted = {"items": len(wish.items)}
    with audited(services.world, actor, "prune", "disk", "", counted):
        return services.disk.prune({(one.kind, one.name) for one in wish.items})
