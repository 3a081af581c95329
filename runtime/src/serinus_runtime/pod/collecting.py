"""Relays the prediction records of each worker to a collector on another machine.

The supervisor connects by TLS and identifies the release by the token of the pod. The worker gets one end of a pair of
sockets, as on one machine, and never has the token. After a lost connection the supervisor connects to the next
collector in turn, and the worker repeats on it what was not acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Callable

from serinus_runtime.pod.release import Collectors
from serinus_runtime.process.wire import FORMAT, send

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds before the next connection. The pause doubles with every connection that failed or was lost soon."""
_LASTED = 5.0
"""Seconds after which a lost connection does not count as lost soon."""
_CONNECT_SECONDS = 10.0
_AT_ONCE = 1 << 16
_LONGEST_TOKEN = 1 << 15
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""Options that detect within half a minute that a collector's machine is gone, also while nothing is sent."""
_UNANSWERED_MS = 30_000

Say = Callable[[str], None]


class Relay:
    """Relays for one worker as long as it lives. `wire` is the supervisor's end of the socket to the worker."""

    def __init__(self, collectors: Collectors, wire: socket.socket, say: Say) -> None:
        self._collectors = collectors
        self._wire = wire
        self._say = say
        self._boot = os.urandom(16).hex()
        """Identifies the worker, whose batches are numbered from its start."""
        self._turn = 0
        self._failures = 0
        self._told = False
        self.connected = False

    async def run(self) -> None:
        """Relays until the worker is gone."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                link = await asyncio.wait_for(self._connect(), _CONNECT_SECONDS)
            except (OSError, ValueError, asyncio.TimeoutError) as error:
                self._complain(str(error) or type(error).__name__)
            else:
                try:
                    ours = self._hand_in()
                except BlockingIOError:  # the worker does not read
                    link[1].close()
                except OSError:  # it is gone
                    link[1].close()
                    return
                else:
                    self.connected, self._told = True, False
                    await _relay(await asyncio.open_unix_connection(sock=ours, limit=_AT_ONCE), link)
                    self.connected = False
                    if loop.time() - began >= _LASTED:
                        self._failures = 0
            await asyncio.sleep(min(_FIRST_PAUSE * 2.0 ** min(self._failures, 16), _LONGEST_PAUSE))
            self._failures += 1

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to the next collector in turn. Raises OSError and ValueError."""
        collectors = self._collectors
        host, port = collectors.addresses[self._turn % len(collectors.addresses)]
        self._turn += 1
        # Read anew each time: both are renewed while the pod runs.
        trust = ssl.create_default_context(cafile=str(collectors.authority))
        token = _token(collectors.token)
        streams = await asyncio.open_connection(host, port, ssl=trust, server_hostname=collectors.name, limit=_AT_ONCE)
        connection = streams[1].get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        hello = {"token": token, "boot": self._boot, "format": FORMAT}
        streams[1].write(json.dumps(hello).encode() + b"\n")
        return streams

    def _hand_in(self) -> socket.socket:
        """Gives the worker one end of a pair, and returns the other. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            send(self._wire, b"\n", [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return ours

    def _complain(self, why: str) -> None:
        """Says once, until there is a connection again, that there is none. The worker keeps its records meanwhile."""
        if not self._told:
            self._told = True
            self._say(f"no collector takes prediction records: {why}; trying again")


def _token(file: Path) -> str:
    """Reads the token. Raises OSError and ValueError."""
    with file.open("rb") as stream:
        token = stream.read(_LONGEST_TOKEN).strip()
    if not token:
        raise ValueError(f"the token in {file} is empty")
    return token.decode("ascii")


async def _relay(
    worker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    collector: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Relays in both directions until one side closes. What the worker has sent before is still sent."""
    up = asyncio.ensure_future(_pump(worker[0], collector[1]))
    down = asyncio.ensure_future(_pump(collector[0], worker[1]))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.wait({up, down})
        for _, writer in (worker, collector):
            writer.close()
    with suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(collector[1].wait_closed(), _CONNECT_SECONDS)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_AT_ONCE):
            writer.write(data)
            await writer.drain()
