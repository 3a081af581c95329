"""HTTP/1.1 over a Unix socket, one request a connection: the other end may be replaced at any moment."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from serinus import peers


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
        return said if isinstance(said, str) else f"it answered {self.status}"


def call(
    path: Path, method: str, target: str, body: bytes | None, headers: Mapping[str, str], timeout: float
) -> Answer:
    """Raises OSError or http.client.HTTPException where there is no (whole) answer."""
    connection = _Connection(path, timeout)
    try:
        connection.connect()
        start = perf_counter()
        connection.request(method, target, body, {"Content-Type": "application/json", "Connection": "close", **headers})
        response = connection.getresponse()
        content = response.read()
        seconds = perf_counter() - start
    finally:
        connection.close()
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, names, _decoded(content), seconds, content)


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
