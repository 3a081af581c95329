"""The API on a Unix socket in the home, for the command line: no other user of the machine can take its place, as they
can a port's, or connect to it. Whoever is connected still shows a token, as everywhere."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

log = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""
_BACKLOG = 64


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, 0600, in place of what an earlier process has left there; removed at the end.
    Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(new))
        new.chmod(0o600)  # before it listens
        listener.listen(_BACKLOG)
        new.replace(path)
        mine = path.stat().st_ino
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == mine:
                    path.unlink()


def checking_peers(config: uvicorn.Config) -> uvicorn.Config:
    """`config`, so that on a Unix socket another user's connection is closed before a byte of it is read."""
    if not config.loaded:
        config.load()
    protocol: Any = config.http_protocol_class

    class Checked(protocol):  # type: ignore[misc]  # which one it is depends on what is installed
        refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:
            if may_connect(transport.get_extra_info("socket")):
                super().connection_made(transport)
                return
            self.refused = True
            transport.abort()

        def connection_lost(self, error: Exception | None) -> None:
            if not self.refused:
                super().connection_lost(error)

        def data_received(self, data: bytes) -> None:
            if not self.refused:
                super().data_received(data)

    config.http_protocol_class = Checked
    return config


def may_connect(connection: Any) -> bool:
    """This user and root may on a Unix socket; on others that is for the token to say."""
    if connection.family != socket.AF_UNIX:
        return True
    asked = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(asked)
    if uid in (os.geteuid(), 0):
        return True
    log.warning("a connection of user %d to the local socket was refused", uid)
    return False
