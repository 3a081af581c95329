"""Connections to the collector as the host hands them to workers, each by a real kernel's sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from serinus_runtime.process.wire import Wire, pair
from serinus_runtime.records.sender import Records as Sender

from serinus.core.home import Home
from serinus.core.keys import log_token
from serinus.targets.local.host.sockets import Sockets
from serinus.targets.local.host.state_files import WorkerRecord
from serinus.targets.local.host.wires import Wires

SECRET = "secret of the home"
WORKER = WorkerRecord("fraud-1-aaaaaa", 123, "boot/456", ready=True)


class Exits:
    """As much of a process as matters here."""

    def __init__(self) -> None:
        self.exited: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()


class Collected:
    """A collector that can go away, and what it was told by each connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[list[bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.path.unlink(missing_ok=True)
        for writer in self.writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        lines: list[bytes] = []
        self.said.append(lines)
        while line := await reader.readline():
            lines.append(line)
        writer.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.sockets.mkdir(mode=0o700)
    return made


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def until(holds: Callable[[], Any]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


def given(home: Home, holder: str = "nobody") -> Wires:
    return Wires(home, SECRET, Sockets(home.sockets / holder, SECRET))


def test_the_host_says_whose_records_come_and_the_worker_says_nothing_of_it(home: Home) -> None:
    async def test() -> None:
        collected = Collected(home.log_socket)
        handed: list[socket.socket] = []
        await collected.open()
        ours, theirs = pair()
        wire, host = Wire(theirs.fileno(), handed.append), given(home)
        host.add(WORKER, Exits(), ours)
        await until(lambda: handed and collected.said and collected.said[0])
        hello = json.loads(collected.said[0][0])
        assert (hello["release"], hello["token"]) == (WORKER.release, log_token(SECRET, WORKER.release))
        handed[0].send(b"records\n")
        await until(lambda: collected.said[0][1:] == [b"records\n"])
        wire.close()
        host.close()
        await collected.close()

    run(test)


@pytest.mark.parametrize("whose", ["the collector's", "the worker's"])
def test_a_connection_that_has_ended_is_replaced_for_the_same_writer(home: Home, whose: str) -> None:
    async def test() -> None:
        collected = Collected(home.log_socket)
        handed: list[socket.socket] = []
        await collected.open()
        ours, theirs = pair()
        wire, host = Wire(theirs.fileno(), handed.append), given(home)
        host.add(WORKER, Exits(), ours)
        await until(lambda: handed and collected.said)
        if whose == "the worker's":
            handed[0].shutdown(socket.SHUT_RDWR)
        else:
            await collected.close()
            await asyncio.sleep(0.2)  # the first tries find nobody
            assert len(handed) == 1
            await collected.open()
        await until(lambda: len(handed) == 2 and len(collected.said) == 2 and collected.said[1])
        assert collected.said[0][0] == collected.said[1][0]
        wire.close()
        host.close()
        await collected.close()

    run(test)


def test_a_worker_that_ends_every_connection_is_given_them_ever_more_slowly(home: Home) -> None:
    async def test() -> None:
        collected = Collected(home.log_socket)
        await collected.open()
        times: list[float] = []

        def refuse(connection: socket.socket) -> None:
            times.append(asyncio.get_running_loop().time())
            connection.shutdown(socket.SHUT_RDWR)

        ours, theirs = pair()
        wire, host = Wire(theirs.fileno(), refuse), given(home)
        host.add(WORKER, Exits(), ours)
        await until(lambda: len(times) == 5)
        gaps = [after - before for before, after in pairwise(times)]
        assert all(gap >= 0.9 * 0.05 * 2**n for n, gap in enumerate(gaps)), gaps
        wire.close()
        host.close()
        await collected.close()

    run(test)


def test_a_worker_that_does_not_read_takes_no_descriptor_of_the_host_but_one(home: Home) -> None:
    async def test() -> None:
        collected = Collected(home.log_socket)
        await collected.open()
        ours, theirs = pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        host = given(home)
        for _ in range(1000):
            try:
                ours.send(b"full")
            except BlockingIOError:
                break
        before = len(list(Path("/proc/self/fd").iterdir()))
        host.add(WORKER, Exits(), ours)
        await until(lambda: len(collected.said) >= 3)
        await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 2)
        host.close()
        theirs.close()
        await collected.close()

    run(test)


def test_the_connection_of_a_worker_that_has_exited_is_closed(home: Home) -> None:
    async def test() -> None:
        collected = Collected(home.log_socket)
        handed: list[socket.socket] = []
        await collected.open()
        ours, theirs = pair()
        wire, host, worker = Wire(theirs.fileno(), handed.append), given(home), Exits()
        host.add(WORKER, worker, ours)
        await until(lambda: handed and collected.writers)
        handed[0].close()
        wire.close()
        worker.exited.set_result(0)
        await until(lambda: ours.fileno() == -1)
        await until(collected.writers[0].transport.is_closing)
        host.close()
        await collected.close()

    run(test)


def test_what_was_not_acknowledged_is_sent_again_over_the_connection_that_is_handed_in_next(home: Home) -> None:
    async def test() -> None:
        collected = Collected(home.log_socket)
        await collected.open()
        sender = Sender()
        sender.start()
        ours, theirs = pair()
        wire, host = Wire(theirs.fileno(), sender.take), given(home)
        host.add(WORKER, Exits(), ours)
        record = (1.5, "id", None, "canary", "s1", 200, 1.0, 1, [0.5], None, False, None, False, ("a",), [[1.5]])
        sender.append(record)
        await until(lambda: len(collected.said) == 1 and len(collected.said[0]) > 1)  # and it is not acknowledged
        await collected.close()
        sender.append(record)
        await collected.open()
        await until(lambda: len(collected.said) == 2 and len(collected.said[1]) > 2)
        batches = b"".join(collected.said[1][1:])
        assert collected.said[1][1] == collected.said[0][1]
        assert batches.count(b'"seq":1') == 1
        collected.writers[1].write(b'{"ack":1}\n{"ack":2}\n')
        assert await sender.close() == 0
        wire.close()
        host.close()
        await collected.close()

    run(test)


def test_the_next_host_has_the_wires_that_the_holder_kept(hosted: Any, holder: Callable[[], int]) -> None:
    home, secret = hosted.home, hosted.home.secret.read_text()

    async def test() -> None:
        collected = Collected(home.log_socket)
        handed: list[socket.socket] = []
        await collected.open()
        ours, theirs = pair()
        wire = Wire(theirs.fileno(), handed.append)
        first = Sockets(home.holder_socket, secret)
        assert first.connect()
        Wires(home, secret, first).add(WORKER, Exits(), ours)
        await until(lambda: len(handed) == 1)
        assert first._holder is not None
        first._holder.close()  # as its death does
        second = Sockets(home.holder_socket, secret)
        assert second.connect()
        host = Wires(home, secret, second)
        host.take_over(WORKER, Exits())
        await until(lambda: len(handed) == 2 and len(collected.said) == 2 and collected.said[1])
        assert collected.said[0] == collected.said[1]
        wire.close()
        host.close()
        await collected.close()

    run(test)
