"""The assembly of the application."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from serinus.api import failures, home_token
from serinus.api.guard import Guard
from serinus.api.openapi import described
from serinus.api.ports import Callers, Desk, Disk, Report, World
from serinus.api.services import Services
from serinus.api.sessions import Sessions
from serinus.core.home import Home
from serinus.lib.hosts import without_port

PAGE = Path(__file__).parent / "page"


def create_app(
    *,
    home: Home,
    world: World,
    desk: Desk,
    report: Report,
    disk: Disk,
    allowed_hosts: Iterable[str],
    callers: Callers | None = None,
    token_name: str = home_token.NAME,
) -> ASGIApp:
    """Returns the application, with all routes built.

    `allowed_hosts` are the names that are accepted in the Host header, on any port. `callers` takes the
    API keys of callers, where Envoy requires them. `token_name` is the name of the home's own token. The home's secret
    must exist.
    """
    sessions = Sessions(home, world.store, world.clock)
    hosts = frozenset(without_port(host.lower()) for host in allowed_hosts)
    services = Services(home, world, desk, report, sessions, disk, callers, token_name, hosts)
    routes = _routes()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await routes({**scope, "state": {**scope.get("state", {}), "services": services}}, receive, send)

    return application


@cache
def _routes() -> FastAPI:
    """Returns the routes without services.

    FastAPI builds the models of included routes when a request is first matched, which takes most of a second of
    processor time. That is done here, so that no client waits for it."""
    app = described()
    app.add_middleware(Guard)
    failures.install(app)
    _add_page(app)
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})
    return app


def _add_page(app: FastAPI) -> None:
    """Serves the files of the status page to everybody. Its data come from the API, which authenticates clients."""

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/login", include_in_schema=False)
    def login() -> FileResponse:
        return FileResponse(PAGE / "login.html")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
