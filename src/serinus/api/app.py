"""The assembly of the application."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from serinus.api import failures, home_token
from serinus.api.guard import Guard
from serinus.api.openapi import described
from serinus.api.ports import Callers, Desk, Disk, Report, World
from serinus.api.services import Services
from serinus.api.sessions import Sessions
from serinus.core.home import Home

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
) -> FastAPI:
    """Returns the application.

    `allowed_hosts` are the names that are accepted in the Host header, on any port. `callers` takes the
    API keys of callers, where Envoy requires them. `token_name` is the name of the home's own token. The home's secret
    must exist.
    """
    app = described()
    sessions = Sessions(home, world.store, world.clock)
    app.state.services = Services(home, world, desk, report, sessions, disk, callers, token_name)
    app.add_middleware(Guard, hosts=tuple(allowed_hosts))
    failures.install(app)
    _add_page(app)
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
