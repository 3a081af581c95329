"""Bounds on connections that have not yet agreed on TLS, which the server itself does not know of until they have."""

from __future__ import annotations

import resource
import socket
from collections import Counter
from contextlib import suppress
from typing import Any

SECONDS = 5.0
"""For a handshake."""
_PLACES = 250
_SHARE_OF_FILES = 8
"""One in so many descriptors of the process may be a connection that shakes hands."""


class Handshakes(socket.socket):
    """A listening socket. Where too many connections shake hands, the source that has most of them loses its oldest.

    The event loop must be asyncio's own, which accepts by this class.
    """

    def __init__(self, listener: socket.socket, places: int = _PLACES) -> None:
        """Takes `listener` over."""
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.detach())
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._places = max(1, min(places, files // _SHARE_OF_FILES))
        self._under_way: dict[socket.socket, str] = {}
        """Connection -> source, the oldest first."""

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        self._under_way = {one: source for one, source in self._under_way.items() if one.fileno() >= 0}
        self._under_way[connection] = str(address[0])
        if len(self._under_way) > self._places:
            sources = Counter(self._under_way.values())
            _, most = max((count, source) for source, count in sources.items())
            oldest = next(one for one, source in self._under_way.items() if source == most)
            del self._under_way[oldest]
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # which its transport sees, and closes
        return connection, address

    def done(self, descriptor: int) -> None:
        """The connection by that descriptor speaks TLS."""
        self._under_way = {one: source for one, source in self._under_way.items() if one.fileno() != descriptor}
