"""A check of the peers that connect to the Unix sockets of a uvicorn server."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import uvicorn

from serinus.lib.peers import is_ours, user_of

log = logging.getLogger(__name__)


def checking_peers(config: uvicorn.Config) -> uvicorn.Config:
    """Returns `config` with a check that closes connections of other users on Unix sockets before a byte is read."""
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
    """Whether the peer may connect. On a Unix socket only this user and root may. Elsewhere the token decides."""
    if connection.family != socket.AF_UNIX or is_ours(connection):
        return True
    log.warning("a connection of user %d to a local socket was refused", user_of(connection))
    return False
