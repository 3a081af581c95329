"""HTTP over the Unix socket of a home on this machine, after checking the process at the other end."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path

import httpx

from serinus.lib.peers import user_of

_TIMEOUT = 60.0
"""Seconds without a byte."""


class LocalTransport(httpx.BaseTransport):
    """Opens a connection for each request. Raises httpx.ConnectError where nobody listens or another user does, before
    anything is sent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        connection = http.client.HTTPConnection(request.url.host, timeout=_TIMEOUT)
        try:
            connection.sock = connected(self._path)
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        try:
            target = request.url.raw_path.decode("ascii")
            connection.request(request.method, target, body or None, dict(request.headers))
            answer = connection.getresponse()
            return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read(), request=request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer in time", request=request) from error
        except (OSError, http.client.HTTPException) as error:
            raise httpx.ReadError(type(error).__name__, request=request) from error
        finally:
            connection.close()


def connected(path: Path) -> socket.socket:
    """Returns a connection to a process of this user. For root, it is a process of the user who owns the socket's
    directory. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_TIMEOUT)
        connection.connect(str(path))
        uid = user_of(connection)
        ours = os.geteuid()
        if uid != (ours or path.parent.stat().st_uid):
            raise PermissionError(f"a process of user {uid} listens at {path}")
    except BaseException:
        connection.close()
        raise
    return connection
