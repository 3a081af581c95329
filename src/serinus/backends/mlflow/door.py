"""Stands before every route of the bundled MLflow: who does not know its password gets 401 and nothing else.

MLflow's own `basic-auth` is not used: it brings a dependency, a database of users, and a password hash that is computed
for every request, and it knows nothing of the routes that MLflow serves beside Flask.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serinus.core.home import MLFLOW_USERNAME

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_OPEN = ("/health",)
"""Says that the server runs, and nothing of what it holds."""
_REFUSAL = json.dumps(
    {
        "error_code": "UNAUTHENTICATED",
        "message": "This MLflow server asks for credentials: source the file that `serinus up` names, mlflow.env.",
    }
).encode()


class Door:
    """An ASGI application around `app`. `password`: sent as HTTP Basic (user `serinus`) or as a bearer token."""

    def __init__(self, app: App, password: str) -> None:
        self._app = app
        basic = base64.b64encode(f"{MLFLOW_USERNAME}:{password}".encode())
        self._accepted = {b"basic": basic, b"bearer": password.encode()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in _OPEN or self._known(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _refuse(send)

    def _known(self, scope: Message) -> bool:
        """By its only `Authorization` header; with two it would be open which one counts."""
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(sent) != 1:
            return False
        scheme, _, credentials = sent[0].partition(b" ")
        wanted = self._accepted.get(scheme.lower())
        return wanted is not None and hmac.compare_digest(credentials.strip(), wanted)


async def _refuse(send: Send) -> None:
    """Before the body is read, and so the connection is of no further use."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_REFUSAL)).encode()),
        (b"www-authenticate", b'Basic realm="MLflow of Serinus"'),  # browsers ask for it
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSAL})
