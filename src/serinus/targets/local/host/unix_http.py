"""HTTP/1.1 over a Unix socket."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path

from serinus.lib import peers
from serinus.targets.asking import http_calls
from serinus.targets.asking.http_calls import Answer

__all__ = ["Answer", "UnixConnection", "call"]


class UnixConnection(http.client.HTTPConnection):
    """A connection to a process of this user, which listens at `path`."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Raises OSError where nothing listens there, or another user does."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
        peers.checked(self.sock)


def call(
    path: Path, method: str, target: str, body: bytes | None, headers: Mapping[str, str], timeout: float
) -> Answer:
    """See `http_calls.call`."""
    return http_calls.call(UnixConnection(path, timeout), method, target, body, headers, timeout)
