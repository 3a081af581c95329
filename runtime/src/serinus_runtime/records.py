"""Sends prediction records to the collector: off the request path, in batches, until each is acknowledged.

JSON lines over a Unix socket. First `{"release", "token", "boot"}`, then `{"seq": n, "records": [..]}`, which the
collector answers with `{"ack": n}` once it is durable. What is not acknowledged is sent again after a reconnect; the
collector passes over a (boot, seq) that it has. Beyond `most_bytes` records are dropped and counted: `"dropped": k`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from typing import Any, Dict

from serinus_runtime.outputs import encode

ENCODE_EVERY = 0.025
"""Seconds. Records are encoded in small lots, so that no answer waits for a large one."""
SEND_EVERY = 0.2
_LARGEST_BATCH = 1 << 20
_WINDOW = 8 << 20
"""Bytes sent but not acknowledged before more is sent."""
_RETRY = (0.05, 2.0)

Record = Dict[str, Any]


class Records:
    """One worker's records. `append` is all that a request pays for."""

    def __init__(self, path: str, release: str, token: str, most_bytes: int = 64 << 20) -> None:
        self.append = self._fresh_append
        self._path = path
        boot = os.urandom(8).hex()
        self._hello = encode({"release": release, "token": token, "boot": boot}) + b"\n"
        self._most_bytes = most_bytes
        self._fresh: list[Record] = []
        self._encoded: list[bytes] = []
        self._encoded_bytes = 0
        self._waiting: OrderedDict[int, bytes] = OrderedDict()
        """Batches that are not on the wire."""
        self._sent: OrderedDict[int, bytes] = OrderedDict()
        """Batches that are not acknowledged."""
        self._held = 0
        """Bytes of `_waiting` and `_sent`."""
        self._sequence = 0
        self._dropped = 0
        self._link: _Link | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _fresh_append(self, record: Record) -> None:
        self._fresh.append(record)

    def start(self) -> None:
        """Within a running loop."""
        self._tasks = [asyncio.ensure_future(self._encode_and_send()), asyncio.ensure_future(self._stay_connected())]

    async def close(self, patience: float = 5.0) -> int:
        """Sends all that is there and waits for its acknowledgement; how many batches had none in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while (self._fresh or self._encoded or self._held or self._dropped) and loop.time() < end:
            self._encode()
            self._batch()
            self._pump()
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return len(self._waiting) + len(self._sent)

    async def _encode_and_send(self) -> None:
        lots = 0
        while True:
            await asyncio.sleep(ENCODE_EVERY)
            self._encode()
            lots += 1
            if lots * ENCODE_EVERY >= SEND_EVERY or self._encoded_bytes > _LARGEST_BATCH:
                lots = 0
                self._batch()
                self._pump()

    def _encode(self) -> None:
        fresh, self._fresh = self._fresh, []
        for record in fresh:
            line = encode(record)
            if self._held + self._encoded_bytes + len(line) > self._most_bytes:
                self._dropped += 1
                continue
            self._encoded.append(line)
            self._encoded_bytes += len(line)

    def _batch(self) -> None:
        """All that is encoded becomes one batch with the next number."""
        if not self._encoded and not self._dropped:
            return
        self._sequence += 1
        dropped = b',"dropped":%d' % self._dropped if self._dropped else b""
        batch = b'{"seq":%d,"records":[%s]%s}\n' % (self._sequence, b",".join(self._encoded), dropped)
        self._waiting[self._sequence] = batch
        self._held += len(batch)
        self._encoded, self._encoded_bytes, self._dropped = [], 0, 0

    def _pump(self) -> None:
        if self._link is None:
            return
        in_flight = sum(map(len, self._sent.values()))
        while self._waiting and (in_flight == 0 or in_flight < _WINDOW):
            number, batch = self._waiting.popitem(last=False)
            self._sent[number] = batch
            in_flight += len(batch)
            self._link.write(batch)

    def acknowledged(self, number: int) -> None:
        batch = self._sent.pop(number, None)
        if batch is not None:
            self._held -= len(batch)
        self._pump()

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _RETRY[0]
        while True:
            try:
                _, link = await loop.create_unix_connection(lambda: _Link(self), self._path)
            except OSError:  # The collector is away; what is not sent is kept.
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY[1])
                continue
            link.write(self._hello)
            self._link = link
            self._pump()
            if await link.lost:
                pause = _RETRY[0]
            self._link = None
            self._waiting = OrderedDict([*self._sent.items(), *self._waiting.items()])
            self._sent = OrderedDict()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RETRY[1])


class _Link(asyncio.Protocol):
    """One connection to the collector. `lost` is done when it is gone: whether anything was acknowledged on it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._worked = False
        self.lost: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.lost.done():
            self.lost.set_result(self._worked)

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                number = int(json.loads(line)["ack"])
            except (ValueError, KeyError, TypeError):
                # Not the collector's language: start over rather than guess what it has.
                if self._transport is not None:
                    self._transport.abort()
                return
            self._worked = True
            self._records.acknowledged(number)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
