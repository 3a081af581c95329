"""Requests and responses. A response may come later."""

from __future__ import annotations

import json
from typing import Callable

from serinus_runtime.base.errors import RequestError

JSON = b"application/json"
_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 413: b"Content Too Large", 415: b"Unsupported Media Type", 417: b"Expectation Failed",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 501: b"Not Implemented",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_STATUS_LINES = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in _REASONS.items()}


class Request:
    """A request. Header names are in lower case. `refusal` says why it cannot be handled although it was read."""

    __slots__ = ("body", "headers", "keep_alive", "method", "refusal", "target")

    def __init__(self, method: bytes, target: bytes, headers: dict[bytes, bytes], keep_alive: bool) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = b""
        self.refusal: RequestError | None = None

    def header(self, name: bytes) -> str:
        """Returns the header as text. Empty: it is missing."""
        return self.headers.get(name, b"").decode("latin-1")


class Response:
    """A response. `headers` are whole lines, each with CR LF."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: bytes = b"", content_type: bytes = JSON) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.content_type = content_type

    def encode(self, close: bool, without_body: bool = False) -> bytes:
        """Returns the bytes of the response."""
        return b"%scontent-type: %s\r\n%scontent-length: %d\r\n%s\r\n%s" % (
            _STATUS_LINES[self.status],
            self.content_type,
            self.headers,
            len(self.body),
            b"connection: close\r\n" if close else b"",
            b"" if without_body else self.body,
        )


class Pending:
    """A response that comes later, from within the event loop. Until then its connection answers nothing else."""

    __slots__ = ("_deliver", "_response")

    def __init__(self) -> None:
        self._response: Response | None = None
        self._deliver: Callable[[Response], None] | None = None

    def complete(self, response: Response) -> None:
        """Sets the response. It may be called once."""
        if self._deliver is None:
            self._response = response
        else:
            self._deliver(response)

    def then(self, deliver: Callable[[Response], None]) -> None:
        """Calls `deliver` with the response, immediately if it is set already."""
        self._deliver = deliver
        if self._response is not None:
            deliver(self._response)


def error_response(status: int, message: str, headers: bytes = b"") -> Response:
    """Returns a response with the body `{"error": message}`."""
    return Response(status, json.dumps({"error": message}).encode(), headers)
