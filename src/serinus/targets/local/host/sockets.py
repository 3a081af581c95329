"""The host's side of `holder`: the sockets that the holder keeps for the host, that is, its listening sockets and those
to its workers."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from serinus.lib import peers
from serinus.targets.local.host.holder import Held, receive, send

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 1.0
_AGAIN_SECONDS = 0.5


class Sockets:
    """Whatever is kept here is given to the holder as well, as soon as there is one. Serving never depends on it."""

    def __init__(self, path: Path, secret: str) -> None:
        """`path` is the holder's socket."""
        self._path = path
        self._secret = secret
        self._kept: dict[str, Held] = {}
        self._left: dict[str, Held] = {}
        """What an earlier host has left."""
        self._holder: socket.socket | None = None

    def connect(self) -> bool:
        """Takes over what an earlier host has left. Returns whether there is a holder."""
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        holder.settimeout(_ANSWER_SECONDS)
        try:
            holder.connect(str(self._path))
            peers.checked(holder)
            send(holder, {"secret": self._secret})
            while not (said := receive(holder))[0].get("done"):
                self._find(*said)
            for name, held in self._kept.items():
                _keep(holder, name, held)
        except (OSError, ValueError, KeyError):
            holder.close()
            return False
        self._holder = holder
        return True

    async def run(self) -> None:
        """Keeps the connection to a holder until it is cancelled. A new holder is told everything again, since the one
        that died kept nothing."""
        loop = asyncio.get_running_loop()
        while True:
            while self._holder is None and not self.connect():
                await asyncio.sleep(_AGAIN_SECONDS)
            self.forget_left()
            holder, gone = self._holder, asyncio.Event()
            assert holder is not None
            loop.add_reader(holder, gone.set)  # It sends nothing, so this is its end.
            try:
                await gone.wait()
            finally:
                loop.remove_reader(holder)
                holder.close()
                self._holder = None

    def taken(self, path: Path) -> socket.socket | None:
        """The socket that an earlier host has left listening at `path`, if callers still find it there. It is kept
        again at once."""
        held = self._left.pop(path.name, None)
        if held is None:
            return None
        with suppress(OSError):
            if path.stat().st_ino == held.inode:
                self._kept[path.name] = held
                return held.socket
        held.socket.close()
        return None

    def keep(self, path: Path, listening: socket.socket) -> None:
        """Keeps the socket that listens at `path`."""
        self._keep(path.name, Held(path.stat().st_ino, listening))

    def drop(self, path: Path) -> None:
        """Stops keeping the socket that listens at `path`."""
        self.drop_wire(path.name)

    def taken_wire(self, name: str) -> socket.socket | None:
        """The wire that an earlier host has left under this name, which is not a path. It is kept again at once."""
        held = self._left.pop(name, None)
        if held is None:
            return None
        self._kept[name] = held
        return held.socket

    def keep_wire(self, name: str, end: socket.socket) -> None:
        """Keeps the host's end of a worker's wire under `name`."""
        self._keep(name, Held(0, end))

    def drop_wire(self, name: str) -> None:
        """Stops keeping the wire."""
        self._kept.pop(name, None)
        self._tell_dropped(name)

    def forget_left(self) -> None:
        """Drops what nobody has taken over: it belongs to releases that are no longer placed."""
        for name, held in self._left.items():
            held.socket.close()
            self._tell_dropped(name)
        self._left.clear()

    # ------------------------------------------------------------------------------------------------------

    def _keep(self, name: str, held: Held) -> None:
        self._kept[name] = held
        if self._holder is not None:
            with suppress(OSError):  # `run` notices its end, and tells the next holder.
                _keep(self._holder, name, held)

    def _find(self, said: dict[str, Any], listening: socket.socket | None) -> None:
        if listening is None:
            return
        name = said["name"]
        if name in self._kept:  # It is ours, from before the connection was lost.
            listening.close()
        else:
            self._left[name] = Held(said["inode"], listening)

    def _tell_dropped(self, name: str) -> None:
        if self._holder is not None:
            with suppress(OSError):
                send(self._holder, {"drop": name})


def _keep(holder: socket.socket, name: str, held: Held) -> None:
    send(holder, {"keep": name, "inode": held.inode}, held.socket)
