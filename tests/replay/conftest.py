"""A small model server to replay against: it keeps what it was sent, and does as its knobs say."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest


class Request:
    def __init__(self, head: str, body: bytes) -> None:
        start, *lines = head.strip().split("\r\n")
        self.path = start.split()[1]
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.json: Any = json.loads(body)
        self.at = time.monotonic()


class Server:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer = b"HTTP/1.1 200 OK\r\nX-Serinus-Release: m-1\r\nContent-Length: 2\r\n\r\n{}"
        self.stalled = threading.Event()
        self.stall_at_first = 0.0
        """Seconds from the first request on in which nothing is answered."""
        self.hang_up_on = -1
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(5)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.requests]

    def stop(self) -> None:
        """Closes the port and every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = int(head.split("content-length: ")[1].split("\r\n")[0])
                self.requests.append(Request(head, await reader.readexactly(length)))
                if len(self.requests) - 1 == self.hang_up_on:
                    return
                while self.stalled.is_set() or time.monotonic() < self.requests[0].at + self.stall_at_first:
                    await asyncio.sleep(0.005)
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
