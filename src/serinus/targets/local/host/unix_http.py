"""HTTP/1.1 over a Unix socket, one request a connection: the other end may be replaced at any moment."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from serinus.lib import peers

LONGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of a body. A worker's answers are a model's."""
_LONGEST_ERROR = 2_000
"""Characters that are kept of a refusal's words."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
        peers.checked(self.sock)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any = field(repr=False)
    """Decoded JSON; None where it is none."""
    seconds: float
    """From the first byte sent to the last one received."""
    content: bytes = field(repr=False, default=b"")
    """As it came."""

    @property
    def error(self) -> str:
        """What the other end says of its refusal."""
        said = self.body.get("error") if isinstance(self.body, dict) else None
        return said[:_LONGEST_ERROR] if isinstance(said, str) else f"it answered {self.status}"


def call(
    path: Path, method: str, target: str, body: bytes | None, headers: Mapping[str, str], timeout: float
) -> Answer:
    """`timeout`: seconds for each step; twice as many for all of it. Raises OSError or http.client.HTTPException where
    there is no (whole) answer, or one that is longer than `LONGEST_ANSWER`."""
    connection = _Connection(path, timeout)
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
        if response.length:  # at the end of the connection
            raise http.client.IncompleteRead(content, response.length)
        if late.is_set():
            raise TimeoutError("it did not end in time")
        if len(content) > LONGEST_ANSWER:
            raise http.client.HTTPException(f"an answer of more than {LONGEST_ANSWER >> 20} MiB")
    finally:
        timer.cancel()
        connection.close()
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, names, _decoded(content), seconds, content)


def _end(stream: socket.socket, late: threading.Event) -> None:
    """Has whoever waits for more of it see its end, and why."""
    late.set()
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
