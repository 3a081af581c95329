"""HTTP/1.1 with one request for each connection, since the other end may be replaced at any moment."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

LONGEST_ANSWER = 16 * 1024 * 1024
"""The most bytes of a body. A worker's answers are a model's."""
_LONGEST_ERROR = 2_000
"""The number of characters of a refusal's text that are kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request."""

    status: int
    headers: Mapping[str, str]
    """The names are in lower case."""
    seconds: float
    """From the first byte sent to the last byte received."""
    content: bytes = field(repr=False)
    """The body as it was received."""

    @property
    def body(self) -> Any:
        """The decoded JSON, or None where the content is not JSON. Each call decodes it."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    @property
    def error(self) -> str:
        """The reason that the other end gives for its refusal."""
        body = self.body
        said = body.get("error") if isinstance(body, dict) else None
        return said[:_LONGEST_ERROR] if isinstance(said, str) else f"it answered {self.status}"


def call(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
) -> Answer:
    """Opens `connection`, makes one request, and closes it. `timeout` is the number of seconds for each step; the whole
    call may take twice as many. Raises OSError or http.client.HTTPException where there is no complete answer, or one
    that is longer than `LONGEST_ANSWER`."""
    late = threading.Event()
    timer = threading.Timer(2 * timeout, lambda: _end(connection.sock, late))
    try:
        connection.connect()
        timer.start()
        start = perf_counter()
        connection.request(method, target, body, {"Content-Type": "application/json", "Connection": "close", **headers})
        response = connection.getresponse()
        content = response.read(LONGEST_ANSWER + 1)
        seconds = perf_counter() - start
        if response.length:  # The connection has ended before.
            raise http.client.IncompleteRead(content, response.length)
        if late.is_set():
            raise TimeoutError("it did not end in time")
        if len(content) > LONGEST_ANSWER:
            raise http.client.HTTPException(f"an answer of more than {LONGEST_ANSWER >> 20} MiB")
    finally:
        timer.cancel()
        connection.close()
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, names, seconds, content)


def _end(stream: socket.socket, late: threading.Event) -> None:
    """Has whoever waits for more of the stream see its end, and records why."""
    late.set()
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
