"""A connection is used only while the server keeps it open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from serinus.replay.answers import Answer
from serinus.replay.connections import Connection, Sent


class Free:
    """Whether its owner may use a connection, and how often it was opened and lost."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.changed = asyncio.Event()

    def _note(self, word: str) -> None:
        self.told.append(word)
        self.changed.set()

    async def until(self, told: list[str]) -> None:
        while self.told != told:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)

    def opened(self, connection: Connection) -> None:
        self._note("opened")

    def lost(self, connection: Connection) -> None:
        self._note("lost")

    def answered(self, connection: Connection, sent: Sent, answer: Answer) -> None:
        self._note("answered")

    def failed(self, sent: Sent, kind: str) -> None:
        self._note(kind)

    def refused(self) -> None:
        self._note("refused")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def to(listening: socket.socket, owner: Free, idle: float) -> Connection:
    return Connection(owner, "127.0.0.1", listening.getsockname()[1], idle=idle)


def test_a_connection_that_was_free_for_its_time_is_replaced(listening: socket.socket) -> None:
    async def run() -> None:
        owner = Free()
        connection = to(listening, owner, 0.05)
        connection.start()
        await owner.until(["opened", "lost", "opened"])
        await connection.close()

    asyncio.run(run())
    first, _ = listening.accept()
    with first:
        assert first.recv(1) == b""  # The client has closed it, and the server has not.


def test_a_connection_is_not_replaced_while_its_request_is_in_flight(listening: socket.socket) -> None:
    async def run() -> None:
        owner = Free()
        connection = to(listening, owner, 0.05)
        connection.start()
        await owner.until(["opened"])
        server, _ = listening.accept()
        with server:
            now = asyncio.get_running_loop().time()
            connection.send(b"POST / HTTP/1.1\r\n\r\n", Sent(now, now, "a", None))
            await asyncio.sleep(0.2)
            assert owner.told == ["opened"]
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await owner.until(["opened", "answered", "lost", "opened"])
        await connection.close()

    asyncio.run(run())


def test_no_request_is_sent_after_the_server_has_closed_the_connection(listening: socket.socket) -> None:
    """The generator was away for a moment: the end of the connection and the next request are seen at once."""

    async def run() -> None:
        loop, owner = asyncio.get_running_loop(), Free()
        connection = to(listening, owner, 60)
        connection.start()
        await owner.until(["opened"])
        server, _ = listening.accept()
        seen = loop.create_future()
        loop.call_later(0.01, lambda: seen.set_result(list(owner.told)))
        server.close()
        end = loop.time() + 0.05
        while loop.time() < end:
            pass
        assert await seen == ["opened", "lost"]
        await connection.close()

    asyncio.run(run())
