"""The host's control API over HTTP, on a Unix socket of the home.

    PUT    /releases/{id}    JSON of a Placed     202
    DELETE /releases/{id}                         202
    POST   /releases/{id}/activate                202, even if it is active (`wake` of an earlier version)
    POST   /releases/{id}/expect?workers=3        202, even if it is not placed
    POST   /releases/{id}/distrust                202, even if it is not placed
    GET    /releases                              200, a list of Placement

Every request has the home's secret as a bearer token, because a model runs as the same user and could connect. Errors
are `{"error", "hint"}` with 401, 411, 413, 404 (NotFound), 409 (Refused), 422 (InvalidInput) or 503 (full disk).
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serinus.core.errors import InvalidInput, NotFound, Refused, SerinusError
from serinus.core.placement import Placement
from serinus.targets.local.host.host import Host
from serinus.targets.local.host.state_files import AnyPlaced

_STATUS: Mapping[type[SerinusError], int] = {NotFound: 404, Refused: 409, InvalidInput: 422}
MAX_BODY_BYTES = 1 << 20
"""A release in JSON takes some kilobytes."""


class Door:
    """Checks the secret before a byte of the body is read, and limits the body."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(Headers(scope=scope))) is not None:
            # The connection is closed, because the body is not read to find the next request.
            await JSONResponse(refusal[1], refusal[0], {"connection": "close"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> tuple[int, dict[str, str]] | None:
        sent = headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), self._secret):
            return 401, {"error": "The host was called without this home's secret.", "hint": ""}
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
            return 411, {"error": "The host takes bodies that say their length.", "hint": ""}
        if int(length) > MAX_BODY_BYTES:
            return 413, {"error": f"The body is larger than the limit of {MAX_BODY_BYTES} bytes.", "hint": ""}
        return None


def control(host: Host, secret: str) -> ASGIApp:
    """Returns the application. `host` starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        host.start()
        yield
        await host.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.put("/releases/{release_id}", status_code=202)
    async def place(release_id: str, placed: AnyPlaced) -> None:
        if release_id != placed.release.id:
            raise InvalidInput("The path names another release than the body.")
        await host.place(placed.release, placed.scale)

    @app.delete("/releases/{release_id}", status_code=202)
    async def remove(release_id: str) -> None:
        host.remove(release_id)

    @app.post("/releases/{release_id}/activate", status_code=202)
    @app.post("/releases/{release_id}/wake", status_code=202)
    async def activate(release_id: str) -> None:
        host.activate(release_id)

    @app.post("/releases/{release_id}/expect", status_code=202)
    async def expect(release_id: str, workers: Annotated[int, Query(ge=0)]) -> None:
        host.expect(release_id, workers)

    @app.post("/releases/{release_id}/distrust", status_code=202)
    async def distrust(release_id: str) -> None:
        host.distrust(release_id)

    @app.get("/releases")
    async def observe() -> Sequence[Placement]:
        return host.observe()

    @app.exception_handler(SerinusError)
    async def refuse(_: Request, error: SerinusError) -> JSONResponse:
        return JSONResponse({"error": error.message, "hint": error.hint}, _STATUS.get(type(error), 503))

    @app.exception_handler(OSError)
    async def no_room(_: Request, error: OSError) -> JSONResponse:
        message = f"The host cannot keep the release: {error.strerror}."
        return JSONResponse({"error": message, "hint": "Serving goes on; make room and try again."}, 503)

    return Door(app, secret)
