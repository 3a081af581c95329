"""Sends prediction records to the collector in batches, outside of requests, until each is acknowledged.

The host makes the connection, and says on it whose records come (see `process.wire`). The collector answers each batch
(`records.batches`) with `{"ack": n}` once it is durable. Batches without an acknowledgement are sent again over the
next connection, and the collector skips numbers that it has. Until then, batches are held in memory, then in a file,
both limited in size. Further records are discarded and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import OrderedDict
from pathlib import Path
from typing import Any, Tuple

from serinus_runtime.records.batches import FIELDS, Batch
from serinus_runtime.records.spill import Spill

__all__ = ["FIELDS", "Record", "Records"]

ENCODE_EVERY = 0.025
"""Seconds between two lots while there are records. Lots are small, so that no response waits for a large one."""
_LOT = 64
SEND_EVERY = 0.2
_LARGEST_BATCH = 1 << 20
_WINDOW = 8 << 20
"""The number of bytes that may be sent without an acknowledgement."""

Record = Tuple[Any, ...]
"""A record in the order of `FIELDS`."""


class Records:
    """The records of one worker. A request only pays for `append`."""

    def __init__(
        self,
        most_bytes: int = 64 << 20,
        *,
        scratch: Path | None = None,
        most_spilled: int = 256 << 20,
    ) -> None:
        """`most_bytes` is the limit in memory. `scratch` is a directory for further batches. None: there is none."""
        self._most_bytes = most_bytes
        self._spill = None if scratch is None else Spill(scratch, most_spilled)
        self._fresh: list[Record] = []
        self._batch = Batch()
        self._waiting: OrderedDict[int, bytes] = OrderedDict()
        """The batches that are not sent yet."""
        self._sent: OrderedDict[int, bytes] = OrderedDict()
        """The batches that are sent and not acknowledged yet."""
        self._held = 0
        """The number of bytes in `_waiting` and `_sent`."""
        self._sequence = 0
        self._dropped = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._encoding: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._link: _Link | None = None
        self._taking: set[asyncio.Task[None]] = set()

    def append(self, record: Record) -> None:
        """Adds a record."""
        fresh = self._fresh
        fresh.append(record)
        # There is a timer only while there are records, because many workers are idle.
        if len(fresh) == 1:
            self._encode_later()
        elif len(fresh) == _LOT and self._loop is not None:
            self._loop.call_soon(self._encode)

    def full(self) -> bool:
        """Whether a further record may be lost. Records that are not in a batch yet need room as well."""
        if not self._spilled and self._held + self._batch.size + _reserve(self._most_bytes) <= self._most_bytes:
            return False
        return self._spill is None or self._spill.room < _reserve(self._spill.most_bytes)

    def start(self) -> None:
        """Starts within a running loop."""
        self._loop = asyncio.get_running_loop()
        if self._fresh:
            self._encode_later()

    async def close(self, patience: float = 5.0) -> int:
        """Sends everything and waits for acknowledgements. Returns how many batches had none in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while loop.time() < end:
            self._encode()
            self._send()
            if not (self._held or self._dropped or self._spilled):
                break
            await asyncio.sleep(0.01)
        for timer in (self._encoding, self._sending):
            if timer is not None:
                timer.cancel()
        if self._link is not None:
            self._link.end()
        left = len(self._waiting) + len(self._sent) + self._spilled
        if self._spill is not None:
            self._spill.close()
        return left

    @property
    def _spilled(self) -> int:
        return 0 if self._spill is None else len(self._spill)

    def _encode_later(self) -> None:
        if self._loop is not None and self._encoding is None:
            self._encoding = self._loop.call_later(ENCODE_EVERY, self._encode_in_time)

    def _encode_in_time(self) -> None:
        self._encoding = None
        self._encode()

    def _encode(self) -> None:
        """Encodes one lot. Further records wait for the next one."""
        lot, self._fresh = self._fresh[:_LOT], self._fresh[_LOT:]
        if not lot:
            return
        self._batch.add(lot)
        if self._fresh and self._loop is not None:
            self._loop.call_soon(self._encode)
        if self._batch.size > _LARGEST_BATCH:
            self._send()
        elif self._sending is None and self._loop is not None:
            self._sending = self._loop.call_later(SEND_EVERY, self._send)

    def _send(self) -> None:
        """Makes a batch of all encoded records."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        if self._batch.count or self._dropped:
            self._hold(self._batch)
            self._batch = Batch()
        self._pump()

    def _hold(self, batch: Batch) -> None:
        """Holds a batch in memory, or after those in the file."""
        data = batch.encoded(self._sequence + 1, self._dropped)
        if self._spill is not None and (len(self._spill) or self._held + len(data) > self._most_bytes):
            if not self._spill.put(self._sequence + 1, data):
                self._dropped += batch.count
                return
        elif self._held + len(data) > self._most_bytes and batch.count:
            self._dropped += batch.count
            return
        else:
            self._waiting[self._sequence + 1] = data
            self._held += len(data)
        self._sequence += 1
        self._dropped = 0

    def _pump(self) -> None:
        if self._link is None:
            return
        in_flight = sum(map(len, self._sent.values()))
        while in_flight == 0 or in_flight < _WINDOW:
            if not self._waiting:
                self._unspill()
            if not self._waiting:
                return
            number, batch = self._waiting.popitem(last=False)
            self._sent[number] = batch
            in_flight += len(batch)
            self._link.write(batch)

    def _unspill(self) -> None:
        """Moves the next batch of the file to memory."""
        if self._spill is None or not len(self._spill):
            return
        taken = self._spill.take()
        if taken is not None:
            self._waiting[taken[0]] = taken[1]
            self._held += len(taken[1])

    def acknowledged(self, link: _Link, number: int) -> None:
        """The collector has acknowledged a batch."""
        if link is not self._link:  # It was sent on another connection.
            return
        batch = self._sent.pop(number, None)
        if batch is not None:
            self._held -= len(batch)
        self._pump()

    def take(self, connection: socket.socket) -> None:
        """Replaces the connection to the collector. Within the running loop."""
        task = asyncio.ensure_future(self._take(connection))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _take(self, connection: socket.socket) -> None:
        link = _Link(self, connection)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=connection)
        except (OSError, ValueError):
            connection.close()
            return
        if not link.open:
            return
        before, self._link = self._link, link
        if before is not None:
            before.end()
        self._take_back()
        self._pump()

    def lost(self, link: _Link) -> None:
        """The connection was lost. Batches without an acknowledgement wait for the next one."""
        if self._link is link:
            self._link = None
            self._take_back()

    def _take_back(self) -> None:
        self._waiting = OrderedDict([*self._sent.items(), *self._waiting.items()])
        self._sent = OrderedDict()


def _reserve(most: int) -> int:
    return min(2 * _LARGEST_BATCH, most // 4)


class _Link(asyncio.Protocol):
    """A connection to the collector."""

    def __init__(self, records: Records, connection: socket.socket) -> None:
        self._records = records
        self._socket = connection
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is of no class of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._records.lost(self)

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                number = int(json.loads(line)["ack"])
            except (ValueError, KeyError, TypeError):
                # This is not the collector's protocol. A new connection is safer than guessing what it has.
                self.end()
                return
            self._records.acknowledged(self, number)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """Closes the connection. The host, which has the socket as well, then makes another one."""
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._transport.abort()
