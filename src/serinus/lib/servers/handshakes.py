"""Limits for connections during the TLS handshake, which the server does not see until it is completed."""

from __future__ import annotations

import resource
import socket
from collections import Counter
from contextlib import suppress
from typing import Any

SECONDS = 5.0
"""The time limit of a handshake."""
_PLACES = 250
_SHARE_OF_FILES = 8
"""Handshakes may use one in so many descriptors of the process."""


class Handshakes(socket.socket):
    """A listening socket that limits handshakes. Where there are too many, the client address with the most loses its
    oldest.

    The event loop must be asyncio's own, which accepts connections by this class.
    """

    def __init__(self, listener: socket.socket, places: int = _PLACES) -> None:
        """Takes over the socket of `listener`."""
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.detach())
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._places = max(1, min(places, files // _SHARE_OF_FILES))
        self._under_way: dict[socket.socket, str] = {}
        """Connection -> source, the oldest first."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Returns the next connection. If there are too many handshakes, closes the oldest one of the source with the
        most."""
        connection, address = super().accept()
        self._under_way = {one: source for one, source in self._under_way.items() if one.fileno() >= 0}
        self._under_way[connection] = str(address[0])
        if len(self._under_way) > self._places:
            sources = Counter(self._under_way.values())
            _, most = max((count, source) for source, count in sources.items())
            oldest = next(one for one, source in self._under_way.items() if source == most)
            del self._under_way[oldest]
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # The transport notices that and closes.
        return connection, address

    def done(self, descriptor: int) -> None:
        """The handshake of the connection with that descriptor is complete."""
        self._under_way = {one: source for one, source in self._under_way.items() if one.fileno() != descriptor}
