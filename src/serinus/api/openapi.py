"""The routes, and the OpenAPI document that describes them.

python -m serinus.api.openapi > docs/openapi/control.yaml
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from serinus.api.auth import Needs, Viewer
from serinus.api.failures import OF_EVERY_ROUTE
from serinus.api.routes import acts, disk, fleet, happenings, imports, keys, operations, people
from serinus.core.people import Access

VERSION = "1"
"""The version of the API, as in its paths. Within a version, fields and routes are only added."""

_PREFIX = "/v1"
_OF_V1 = (fleet, acts, imports, disk, happenings, people, keys)
_HEAD = "# Written by `python -m serinus.api.reference`; a test fails where it is not what the code says.\n"

_ABOUT = """\
Deploys, watches and explains versions of models.

Every error is answered as `{"error": what is wrong, "hint": what to do next}`. Lists that grow are paged: `limit`
bounds a page, and `after` names the last entry of the page before. A request with a field that is not described here is
refused. Answers may get more fields with time: pass over those that you do not know."""

_TAGS = {
    "fleet": "Reading: models, rollouts, releases and specs.",
    "acts": "Doing: deployments, orders, rollbacks, retirements, policies and outcomes.",
    "happenings": "Events, the audit record and logs.",
    "disk": "What takes how much disk.",
    "people": "Tokens, and the status page's session.",
    "keys": "Keys of those who call models.",
    "operations": "Health and metrics.",
}
_NO_JSON = {"/metrics": "text/plain", "/v1/events/stream": "text/event-stream"}
_OF_ALL = "/healthz"
"""Routes that answer everybody."""


class ControlApi(FastAPI):
    """The API, with the role that each route requires in its description."""

    def openapi(self) -> dict[str, Any]:
        """Returns the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            for (path, method), role in _roles().items():
                operation = document["paths"][path][method]
                operation["description"] += f"\n\nNeeds the role `{role}`."
            for path, media_type in _NO_JSON.items():
                content = {media_type: {"schema": {"type": "string"}}}
                document["paths"][path]["get"]["responses"]["200"]["content"] = content
            for status in ("401", "403", "422"):
                del document["paths"][_OF_ALL]["get"]["responses"][status]
        return self.openapi_schema or {}


def described() -> FastAPI:
    """Returns an application with all routes except those of the page, and without services behind them."""
    app = ControlApi(
        title="Serinus control API",
        version=VERSION,
        description=_ABOUT,
        openapi_tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
        openapi_url=None,  # It is served below, to clients with the role view.
        docs_url=None,  # FastAPI's own pages load scripts from other servers.
        redoc_url=None,
        responses=OF_EVERY_ROUTE,
        generate_unique_id_function=lambda route: route.name.replace("_", "-"),
    )
    for module in _OF_V1:
        app.include_router(module.router, prefix=_PREFIX)
    app.include_router(operations.router)

    @app.get("/v1/openapi.json", include_in_schema=False)
    def document(_actor: Viewer) -> dict[str, Any]:
        """This document."""
        return app.openapi()

    return app


def _roles() -> Mapping[tuple[str, str], Access]:
    """Returns the role that each (path, method) requires, from the dependencies of its route. Orders describe theirs
    themselves."""
    routers = [(_PREFIX, module.router) for module in _OF_V1] + [("", operations.router)]
    return {
        (f"{prefix}{route.path}", method.lower()): access
        for prefix, router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for access in _needed(route.dependant)
        for method in route.methods or ()
    }


def _needed(dependant: Dependant) -> Iterator[Access]:
    for one in dependant.dependencies:
        if isinstance(one.call, Needs):
            yield one.call.access
        yield from _needed(one)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def as_yaml() -> str:
    """Returns the document as it is published."""
    document = described().openapi()
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
