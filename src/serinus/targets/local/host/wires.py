"""Provides connections to the collector for the workers, which cannot make any themselves. The host makes each
connection, says on it whose records will follow, and hands it over. So no worker can say whose records they are.

Every worker has a socket to the host (`serinus_runtime.process.wire`), whose end here the holder keeps for the next
host. The host also keeps what it has handed over. When the collector has closed a connection, or the worker has shut it
down, the kernel reports that here, and the worker is given another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import select
import socket
from dataclasses import dataclass, field

from serinus_runtime.process.wire import FORMAT

from serinus.core.home import Home
from serinus.core.keys import log_token
from serinus.lib import peers
from serinus.lib.backoff import Backoff
from serinus.targets.local.host.processes import Process
from serinus.targets.local.host.sockets import Sockets
from serinus.targets.local.host.state_files import WorkerRecord

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""The seconds before the next connection is tried. They double with every connection that failed or was soon lost."""
_LASTED = 5.0
"""The seconds after which a lost connection does not count as soon lost."""


@dataclass(eq=False, slots=True)
class _Wire:
    name: str
    hello: bytes
    end: socket.socket
    link: socket.socket | None = None
    """The connection that was handed over last, which the worker has as well."""
    since: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), repr=False)
    again: asyncio.TimerHandle | None = field(default=None, repr=False)


class Wires:
    """The wires of one host, in its event loop. `secret` is the home's secret."""

    def __init__(self, home: Home, secret: str, sockets: Sockets) -> None:
        self._path = str(home.log_socket)
        self._secret = secret
        self._sockets = sockets
        self._wires: set[_Wire] = set()
        self._linked: dict[int, _Wire] = {}
        """By the descriptor of `link`."""
        self._hangups = select.epoll()
        self._listening = False

    def add(self, worker: WorkerRecord, process: Process, end: socket.socket) -> None:
        """`end` is the host's end of the worker's wire, which is closed with the process. The worker is given its
        connection soon."""
        self._sockets.keep_wire(_name(worker), end)
        self._begin(worker, process, end)

    def take_over(self, worker: WorkerRecord, process: Process) -> None:
        """Takes over a worker that an earlier host has started. It keeps its connection and, where nobody has kept the
        wire, is given no other."""
        end = self._sockets.taken_wire(_name(worker))
        if end is None:
            log.warning(
                "worker %d of %s cannot be given another connection to the collector", worker.pid, worker.release
            )
        else:
            self._begin(worker, process, end)

    def close(self) -> None:
        """Closes all wires. The workers keep their connections."""
        for wire in list(self._wires):
            self._end(wire)
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._hangups.fileno())
        self._hangups.close()

    # ------------------------------------------------------------------------------------------------------

    def _begin(self, worker: WorkerRecord, process: Process, end: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if not self._listening:
            self._listening = True
            loop.add_reader(self._hangups.fileno(), self._hung_up)
        end.setblocking(False)
        wire = _Wire(_name(worker), _hello(worker, self._secret), end)
        self._wires.add(wire)
        process.exited.add_done_callback(lambda _: self._end(wire))
        wire.again = loop.call_later(0, self._supply, wire)

    def _supply(self, wire: _Wire) -> None:
        wire.again = None
        try:
            link = self._connected(wire)
        except OSError:  # The collector does not run, or is busy.
            self._later(wire)
            return
        try:
            socket.send_fds(wire.end, [b"\n"], [link.fileno()])
        except BlockingIOError:  # The worker does not read.
            link.close()
            self._later(wire)
        except OSError:  # It has ended, which `exited` will report.
            link.close()
        else:
            wire.link, wire.since = link, asyncio.get_running_loop().time()
            self._linked[link.fileno()] = wire
            # A hang-up is reported without any event in the mask. What the collector sends is for the worker.
            self._hangups.register(link.fileno(), 0)

    def _connected(self, wire: _Wire) -> socket.socket:
        """Never waits. Raises OSError."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            link.connect(self._path)
            peers.checked(link)
            link.send(wire.hello)
        except BaseException:
            link.close()
            raise
        return link

    def _hung_up(self) -> None:
        now = asyncio.get_running_loop().time()
        for descriptor, _ in self._hangups.poll(0):
            wire = self._linked[descriptor]
            if now - wire.since > _LASTED:
                wire.backoff.reset()
            self._unlink(wire)
            self._later(wire)

    def _later(self, wire: _Wire) -> None:
        wire.again = asyncio.get_running_loop().call_later(wire.backoff.pause(), self._supply, wire)

    def _unlink(self, wire: _Wire) -> None:
        if wire.link is not None:
            del self._linked[wire.link.fileno()]
            self._hangups.unregister(wire.link.fileno())
            wire.link.close()
            wire.link = None

    def _end(self, wire: _Wire) -> None:
        if wire not in self._wires:
            return
        self._wires.discard(wire)
        self._sockets.drop_wire(wire.name)
        if wire.again is not None:
            wire.again.cancel()
        self._unlink(wire)
        wire.end.close()


def _name(worker: WorkerRecord) -> str:
    """The name of the wire in the holder."""
    return f"wire/{worker.pid}/{worker.identity}"


def _hello(worker: WorkerRecord, secret: str) -> bytes:
    # The numbers of a worker's batches count from its start: the same worker is the same writer for every host.
    boot = hashlib.sha256(f"{worker.pid}/{worker.identity}".encode()).hexdigest()[:16]
    said = {"release": worker.release, "token": log_token(secret, worker.release), "boot": boot, "format": FORMAT}
    return json.dumps(said).encode() + b"\n"
