"""Requests at a steady rate over kept connections, as a service that asks for predictions sends them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter


class Steady:
    """Sends `rate` requests a second to `http://<address><path>` until the block ends. A connection is kept until the
    server says that it closes it. Nothing is sent twice."""

    def __init__(self, address: str, path: str, *, rate: int, connections: int = 32, body: str = "{}") -> None:
        self._host, _, port = address.rpartition(":")
        self._port, self._rate, self.connections = int(port), rate, connections
        length = len(body.encode())
        kind = "content-type: application/json"
        self._head = f"POST {path} HTTP/1.1\r\nhost: {address}\r\n{kind}\r\ncontent-length: {length}\r\n".encode()
        self._body = body
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._number = 0
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(60)

    @property
    def failed(self) -> int:
        return len(self.failures) + sum(number for status, number in self.statuses.items() if status != 200)

    def __str__(self) -> str:
        sent = sum(self.statuses.values()) + len(self.failures)
        return (
            f"{sent} requests in {self.seconds:.1f} s ({sent / max(self.seconds, 0.001):.0f}/s), {self.failed} failed, "
            f"slowest {1000 * self.slowest:.0f} ms, {dict(self.statuses)} {Counter(self.failures).most_common(3)}"
        )

    async def _run(self) -> None:
        began = time.monotonic()
        await asyncio.gather(*(self._caller(number) for number in range(self.connections)))
        self.seconds = time.monotonic() - began

    async def _caller(self, number: int) -> None:
        every = self.connections / self._rate
        due = time.monotonic() + every * number / self.connections
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stopping.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += every
            began = time.monotonic()
            try:
                if connection is None:
                    connection = await asyncio.wait_for(asyncio.open_connection(self._host, self._port), 10)
                reader, writer = connection
                if not await asyncio.wait_for(self._ask(reader, writer), 10):
                    writer.close()
                    connection = None
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self.failures.append(type(error).__name__)
                if connection is not None:
                    connection[1].close()
                connection = None
            self.slowest = max(self.slowest, time.monotonic() - began)
        if connection is not None:
            connection[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is kept."""
        self._number += 1
        writer.write(self._head + f"x-entity-id: card-{self._number % 5_000}\r\n\r\n{self._body}".encode())
        await writer.drain()
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.statuses[int(start.split()[1])] += 1
        self.answers[body.decode(errors="replace").strip()] += 1
        return headers.get("connection", "").lower() != "close"
