"""Routes for operators: health and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serinus.api.auth import Viewer
from serinus.api.metrics import exposition
from serinus.api.services import Given
from serinus.resources import Health

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def healthz(services: Given) -> Health:
    """Answers everybody where the API runs and the store can be read. It also says whether the registry can be read,
    which is not a reason for a restart."""
    services.world.store.setting("health")
    return Health(ok=True, registry=services.report.registry_answers())


@router.get("/metrics", response_model=None)
def metrics(services: Given, _actor: Viewer) -> Response:
    """Returns metrics in the text format of Prometheus. Scrape it with a token of the role view (`authorization` in the
    scrape config)."""
    return Response(exposition(services.report.status()), media_type=CONTENT_TYPE_LATEST)
