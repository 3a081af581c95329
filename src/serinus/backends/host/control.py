"""The host's control over HTTP, on a Unix socket of the home.

    PUT    /releases/{id}    JSON of a Release    202
    DELETE /releases/{id}                         202
    POST   /releases/{id}/wake                    202, though it may be up already
    POST   /releases/{id}/distrust                202, though it may not be placed
    GET    /releases                              200, a list of Placement

Every call carries the home's secret as a bearer token: a model runs as the same user and could connect. Errors are
`{"error", "hint"}` with 401, 404 (NotFound), 409 (Refused), 422 (InvalidInput) or 503 (the disk is full).
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from serinus.backends.host.host import Host
from serinus.core.errors import InvalidInput, NotFound, Refused, SerinusError
from serinus.core.values import Placement, Release


class _Unknown(SerinusError):
    """Did not present the secret."""


_STATUS = {_Unknown: 401, NotFound: 404, Refused: 409, InvalidInput: 422}


def control(host: Host, secret: str) -> FastAPI:
    """The application; `host` starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        host.start()
        yield
        await host.close()

    def authorized(request: Request) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), secret.encode()):
            raise _Unknown("The host was called without this home's secret.")

    app = FastAPI(lifespan=lifespan, dependencies=[Depends(authorized)], openapi_url=None)

    @app.put("/releases/{release_id}", status_code=202)
    async def place(release_id: str, release: Release) -> None:
        if release_id != release.id:
            raise InvalidInput("The path names another release than the body.")
        await host.place(release)

    @app.delete("/releases/{release_id}", status_code=202)
    async def remove(release_id: str) -> None:
        host.remove(release_id)

    @app.post("/releases/{release_id}/wake", status_code=202)
    async def wake(release_id: str) -> None:
        host.wake(release_id)

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

    return app
