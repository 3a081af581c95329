"""Stands before every route of the bundled MLflow: whoever it does not know gets 401 and nothing else.

MLflow's own `basic-auth` is not used: it brings a dependency, a database of users, and a password hash that is computed
for every request, and it knows nothing of the routes that MLflow serves beside Flask.
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
"""Status, MLflow's word for it, and a sentence."""

_OPEN = "/health"
"""Says that the server runs, and nothing of what it holds."""


class Door:
    """An ASGI application around `app`, for HTTP alone."""

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
        """Who sets an alias, for the engine, to which it is their proposal."""
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
    """What a page asks in a browser that remembers the password comes with the page's origin. MLflow would let in those
    of every port of this machine, which other users may have."""
    host = b"".join(_values(scope, b"host")[:1])
    return all(origin == b"http://" + host for origin in _values(scope, b"origin"))


async def _body(receive: Receive) -> bytes:
    """Of a short request; of one that is too long as much as shows that."""
    body, more = b"", True
    while more and len(body) <= proposals.MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    return body if len(body) <= proposals.MOST_BYTES else b""


def _again(body: bytes, receive: Receive) -> Receive:
    """For MLflow, which has not seen the body that was read here."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


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
