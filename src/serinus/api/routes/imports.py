"""Routes for imports of outcomes: any number of parts, which are attached together. An import is one audit entry."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath

from serinus.api.auth import Deployer
from serinus.api.failures import NOT_FOUND, UNAVAILABLE
from serinus.api.record import audited
from serinus.api.services import Given
from serinus.core.predictions import Imported
from serinus.resources import Discarded, ImportPart, ImportRequest, OutcomesReceived

router = APIRouter(tags=["acts"], responses=UNAVAILABLE)

PARTS = 300
"""The largest number of parts of an import, which is in memory as a whole when it is attached."""

Import = Annotated[str, InPath(pattern="^[0-9a-f]{32}$", description="32 random hexadecimal digits of your own.")]
Number = Annotated[int, InPath(ge=0, lt=PARTS)]


@router.put("/outcomes/imports/{import_id}/parts/{number}")
def stage_import(
    import_id: Import, number: Number, part: ImportPart, services: Given, actor: Deployer
) -> OutcomesReceived:
    """Stores a part. No request is labelled before the import is attached. Parts that are not attached are deleted
    after a day."""
    services.world.log.stage(import_id, number, part.labels(services.world.clock.now(), actor.name))
    return OutcomesReceived(received=len(part.label))


@router.post("/outcomes/imports/{import_id}", responses=NOT_FOUND)
def attach_import(import_id: Import, wish: ImportRequest, services: Given, actor: Deployer) -> Imported:
    """Attaches all parts. Returns how many outcomes there were, how many of them were new or corrected an earlier one,
    and how many label nothing. `unknown`: their request is not in the log. `ambiguous`: several requests have their id.
    They are durable when answered."""
    details = {"import": import_id, "name": wish.name, "rows": wish.rows}
    with audited(services.world, actor, "outcomes", "predictions", "", details):
        return services.world.log.attach(import_id)


@router.delete("/outcomes/imports/{import_id}")
def discard_import(import_id: Import, services: Given, _actor: Deployer) -> Discarded:
    """Deletes the parts of an import."""
    services.world.log.discard(import_id)
    return Discarded(discarded=True)
