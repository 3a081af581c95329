"""Checks before every route: Host, Origin and body size. It also sets the security headers for browsers."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serinus.api.auth import SAFE_METHODS
from serinus.api.failures import answer
from serinus.api.services import Services
from serinus.lib.hosts import without_port

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024

HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Accepts the services' `hosts` in the Host header, on any port: behind a forwarded port, a NodePort or a proxy the
    caller's port is not the one on which this server listens.

    Any other name may be one that an attacker has pointed at this machine (DNS rebinding). It is refused before a token
    is checked.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(scope["path"], send)
        headers = Headers(scope=scope)
        services: Services = scope["state"]["services"]
        refusal = self._refusal(scope["method"], headers, services.hosts)
        if refusal is not None:
            status, error, hint = refusal
            await answer(status, error, hint)(scope, receive, send)
            return
        await self._answered(scope, self._bounded(receive), send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with a general error where Serinus itself fails, with the same headers as always. Details are in the
        log."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if begun:
                raise
            await answer(500, "an internal error", "See logs/control.log in the home.")(scope, receive, send)

    def _refusal(self, method: str, headers: Headers, hosts: frozenset[str]) -> tuple[int, str, str] | None:
        host = headers.get("host", "").lower()
        if without_port(host) not in hosts:
            return 421, "this server does not accept that Host header", "Start it with `serinus up --allow-host NAME`."
        origin = headers.get("origin")
        if method not in SAFE_METHODS and origin is not None and urlsplit(origin).netloc.lower() != host:
            return 403, "a page of another origin may not change anything", ""
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length is not a number", ""
        if int(length) > self._max_body_bytes:
            return (
                413,
                f"the body is larger than the limit of {self._max_body_bytes} bytes",
                "Send it in several requests.",
            )
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """Limits bodies that do not declare their length."""
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body_bytes:
                raise HTTPException(413, f"the body is larger than the limit of {self._max_body_bytes} bytes")
            return message

        return bounded


def _with_headers(path: str, send: Send) -> Send:
    # Pages may be cached but must be revalidated. Answers of the API are never cached.
    cache = "no-store" if path.startswith(("/v1", "/metrics")) else "no-cache"

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers["cache-control"] = cache
        await send(message)

    return sending
