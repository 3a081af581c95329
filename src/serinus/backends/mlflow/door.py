"""Authentication for every route of the bundled MLflow server. Unknown clients get 401.

MLflow's own `basic-auth` is not used. It needs a further dependency, a user database and an expensive password hash for
every request, and it does not cover the routes that MLflow serves beside Flask.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from serinus.backends.mlflow import proposals, routes
from serinus.backends.mlflow.people import People, Person
from serinus.backends.mlflow.proposals import Proposals
from serinus.core.errors import Unavailable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = tuple[HTTPStatus, str, str]
"""The status, MLflow's error code and a sentence."""

_OPEN = "/health"
"""A route that only says that the server runs."""


class Door:
    """An ASGI application around `app`, for HTTP only."""

    def __init__(self, app: App, people: People, proposals: Proposals) -> None:
        self._app = app
        self._people = people
        self._proposals = proposals

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] == _OPEN):
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._let_in(scope, receive, send)

    async def _let_in(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            person = await self._people.who(_values(scope, b"authorization"))
        except Unavailable as error:
            await _refuse((HTTPStatus.SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", str(error)), send)
            return
        refusal = _refusal(scope, person)
        if person is not None and refusal is None and proposals.sets_alias(scope["method"], scope["path"]):
            body = await _body(receive)
            refusal, receive = self._noted(body, person), _again(body, receive)
        if refusal is not None:
            await _refuse(refusal, send)
            return
        await self._app(scope, receive, send)

    def _noted(self, body: bytes, person: Person) -> Refusal | None:
        """Records who sets an alias, which the engine takes for a proposal of that person."""
        try:
            self._proposals.note(proposals.read(body), person.owner)
        except ValueError:
            return HTTPStatus.BAD_REQUEST, "INVALID_PARAMETER_VALUE", "This sets no alias of a version of a model."
        return None


def _refusal(scope: Message, person: Person | None) -> Refusal | None:
    if person is None:
        return HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", _UNKNOWN
    if not _of_this_server(scope):
        return HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", "A page of another origin may not use this MLflow server."
    if not routes.is_known(scope["path"]):
        return HTTPStatus.NOT_FOUND, "ENDPOINT_NOT_FOUND", "The MLflow server of Serinus does not support this."
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
    """Whether the request comes from a page of this server.

    Browsers send the stored password with requests of any page, together with the page's origin. MLflow would accept
    those of every port of this machine, which may belong to other users.
    """
    host = b"".join(_values(scope, b"host")[:1])
    return all(origin == b"http://" + host for origin in _values(scope, b"origin"))


async def _body(receive: Receive) -> bytes:
    """Reads the body of a short request. Of a longer one it reads just enough to detect that."""
    body, more = b"", True
    while more and len(body) <= proposals.MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    return body if len(body) <= proposals.MOST_BYTES else b""


def _again(body: bytes, receive: Receive) -> Receive:
    """Returns the body that was read once more, for MLflow."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(refusal: Refusal, send: Send) -> None:
    """Answers before the body is read, so the connection cannot be used again."""
    status, code, words = refusal
    body = json.dumps({"error_code": code, "message": words}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == HTTPStatus.UNAUTHORIZED:
        # Browsers ask for a password because of it.
        headers.append((b"www-authenticate", b'Basic realm="MLflow of Serinus"'))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
