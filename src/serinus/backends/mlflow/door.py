"""Stands before every route of the bundled MLflow: whoever it does not know gets 401 and nothing else.

MLflow's own `basic-auth` is not used: it brings a dependency, a database of users, and a password hash that is computed
for every request, and it knows nothing of the routes that MLflow serves beside Flask.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from serinus.backends.mlflow import routes
from serinus.backends.mlflow.people import People
from serinus.core.errors import Unavailable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = tuple[HTTPStatus, str, str]
"""Status, MLflow's word for it, and a sentence."""

_OPEN = "/health"
"""Says that the server runs, and nothing of what it holds."""


class Door:
    """An ASGI application around `app`, for HTTP alone."""

    def __init__(self, app: App, people: People) -> None:
        self._app = app
        self._people = people

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] == _OPEN):
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif refusal := await self._refusal(scope):
            await _refuse(refusal, send)
        else:
            await self._app(scope, receive, send)

    async def _refusal(self, scope: Message) -> Refusal | None:
        try:
            person = await self._people.who(_values(scope, b"authorization"))
        except Unavailable as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", str(error)
        if person is None:
            return HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", _UNKNOWN
        if not _of_this_server(scope):
            return HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", "A page of another origin may not ask this MLflow server."
        if not routes.is_known(scope["path"]):
            return HTTPStatus.NOT_FOUND, "ENDPOINT_NOT_FOUND", "The MLflow server of Serinus does not have this."
        if not person.writes and not routes.only_reads(scope["method"], scope["path"]):
            words = f"The token {person.name} has the role view; changing something in MLflow needs deploy."
            return HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", words
        return None


_UNKNOWN = (
    "This MLflow server asks for credentials: source the file mlflow.env that `serinus up` names, or set "
    "MLFLOW_TRACKING_TOKEN to a Serinus token."
)


def _values(scope: Message, wanted: bytes) -> Sequence[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]


def _of_this_server(scope: Message) -> bool:
    """What a page asks in a browser that remembers the password comes with the page's origin. MLflow would let in those
    of every port of this machine, which other users may have."""
    host = b"".join(_values(scope, b"host")[:1])
    return all(origin == b"http://" + host for origin in _values(scope, b"origin"))


async def _refuse(refusal: Refusal, send: Send) -> None:
    """Before the body is read, and so the connection is of no further use."""
    status, code, words = refusal
    body = json.dumps({"error_code": code, "message": words}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Basic realm="MLflow of Serinus"'))  # browsers ask for it
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
