"""Imports of outcomes: any number of parts, then all of them at once. One entry of the audit record an import."""

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
"""Of one import. All of it is in memory when it is attached."""

Import = Annotated[str, InPath(pattern="^[0-9a-f]{32}$", description="32 random hexadecimal digits of your own.")]
Number = Annotated[int, InPath(ge=0, lt=PARTS)]


@router.put("/outcomes/imports/{import_id}/parts/{number}")
def stage_import(
    import_id: Import, number: Number, part: ImportPart, services: Given, actor: Deployer
) -> OutcomesReceived:
    """Sets a part aside. Nothing is labelled before the import is attached. What is not within a day is forgotten."""
    services.world.log.stage(import_id, number, part.labels(services.world.clock.now(), actor.name))
    return OutcomesReceived(received=len(part.label))


@router.post("/outcomes/imports/{import_id}", responses=NOT_FOUND)
def attach_import(import_id: Import, wish: ImportRequest, services: Given, actor: Deployer) -> Imported:
    """Attaches all parts: how many outcomes there were, how many of them were new or corrected an earlier one, and how
    many label nothing: `unknown`, their request is not in the log; `ambiguous`, several requests have their id.
    Durable when answered."""
    details = {"import": import_id, "name": wish.name, "rows": wish.rows}
    with audited(services.world, actor, "outcomes", "predictions", "", details):
        return services.world.log.attach(import_id)


@router.delete("/outcomes/imports/{import_id}")
def discard_import(import_id: Import, services: Given, _actor: Deployer) -> Discarded:
    """Forgets what was set aside."""
    services.world.log.discard(import_id)
    return Discarded(discarded=True)
