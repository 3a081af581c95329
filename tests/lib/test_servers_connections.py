"""Connections of a real uvicorn that ask nothing, or slowly, while others ask."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn
from waiting import wait_until

from serinus.lib.servers import Limits, limited

SECONDS = 10.0
"""In which something must have happened; the machine may be busy."""
LIMITS = Limits(places=8, head=0.3, body=0.5, idle=1)


async def application(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """`/wait` answers once its body is there, `/slow` after a while, all others at once, `/large` with 20 MB."""
    assert scope["type"] == "http"
    size = 0
    if scope["path"] == "/wait":
        more = True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message["type"] == "http.request" and message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * LIMITS.body)
    parts = [b"x" * 1_000_000] * 20 if scope["path"] == "/large" else [str(size).encode()]
    headers = [(b"content-length", str(sum(map(len, parts))).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def running(limits: Limits) -> Iterator[int]:
    """The port of a server in a thread."""
    config = uvicorn.Config(application, log_level="critical", access_log=False, lifespan="off", ws="none")
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(limited(config, limits))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def port() -> Iterator[int]:
    with running(LIMITS) as found:
        yield found


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connected(held: ExitStack, port: int, said: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS, source_address=(source, 0))
    held.enter_context(connection)
    connection.sendall(said)
    return connection


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def dribble_until_closed(connection: socket.socket) -> None:
    end = time.monotonic() + SECONDS
    with suppress(ConnectionError):
        while time.monotonic() < end:
            connection.sendall(b"x")
            time.sleep(0.02)  # the pace of the caller
    assert time.monotonic() < end


def ask(port: int, path: str = "/", body: bytes | None = None) -> int:
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        caller.request("POST" if body else "GET", path, body)
        return caller.getresponse().status
    finally:
        caller.close()


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [b"", b"GET", HEAD, POST, POST + b"half", HEAD + b"\r\n" + HEAD, b"\r\n"],
    ids=["nothing", "a-word", "half-a-head", "no-body", "half-a-body", "a-request-and-a-half", "an-empty-line"],
)
def test_a_connection_that_stops_asking_is_closed(port: int, held: ExitStack, said: bytes) -> None:
    connection = connected(held, port, said)
    wait_until(lambda: is_closed(connection))


@pytest.mark.parametrize("said", [b"", POST], ids=["head", "body"])
def test_a_byte_at_a_time_does_not_buy_more_time(port: int, held: ExitStack, said: bytes) -> None:
    connection = connected(held, port, said)
    dribble_until_closed(connection)


def test_a_body_after_its_answer_is_not_read_for_ever(port: int, held: ExitStack) -> None:
    connection = connected(held, port, POST.replace(b"/wait", b"/"))
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    dribble_until_closed(connection)


def test_half_a_body_after_its_answer_is_not_waited_for(held: ExitStack) -> None:
    with running(replace(LIMITS, idle=600)) as port:
        connection = connected(held, port, POST.replace(b"/wait", b"/") + b"half")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        wait_until(lambda: is_closed(connection))


def test_a_request_that_takes_long_to_answer_is_answered(port: int) -> None:
    assert ask(port, "/slow") == 200
    assert ask(port, "/wait", b"x" * 100_000) == 200


def test_a_connection_in_use_is_kept(port: int) -> None:
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    for _ in range(6):
        caller.request("GET", "/")
        assert caller.getresponse().read() == b"0"
        caller.auto_open = 0
        time.sleep(LIMITS.head / 2)
    caller.close()


def test_a_connection_that_asks_no_more_is_closed(port: int, held: ExitStack) -> None:
    connection = connected(held, port, HEAD + b"\r\n")
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    wait_until(lambda: is_closed(connection))


def test_a_connection_is_kept_for_longer_than_clients_keep_one() -> None:
    """Otherwise a request may meet the closing of its connection."""
    config = limited(uvicorn.Config(application))
    expiry = httpx.Limits().keepalive_expiry
    assert expiry is not None
    assert config.timeout_keep_alive > 10 * expiry


def test_a_body_that_keeps_its_pace_may_take_longer() -> None:
    """1,500 bytes in about 1.5 s, where 0.5 s and one more for each 500 are allowed."""
    with running(Limits(head=0.5, body=0.5, rate=500)) as port, ExitStack() as held:
        connection = connected(held, port, POST.replace(b"1000", b"1500"))
        for _ in range(15):
            connection.sendall(b"x" * 100)
            time.sleep(0.1)
        assert connection.recv(4096).endswith(b"1500")


@pytest.mark.parametrize("said", [b"", HEAD, POST], ids=["nothing", "half-a-head", "no-body"])
def test_others_are_answered_at_once_where_one_source_has_taken_all_places(held: ExitStack, said: bytes) -> None:
    with running(Limits(places=8, head=60, body=60)) as port:
        silent = [connected(held, port, said) for _ in range(30)]
        assert ask(port) == 200
        wait_until(lambda: sum(is_closed(one) for one in silent) >= 22)
        assert ask(port) == 200
        assert sum(not is_closed(one) for one in silent) >= 6


def test_the_source_with_the_most_connections_makes_room(held: ExitStack) -> None:
    with running(Limits(places=8, head=60, body=60)) as port:
        first = connected(held, port, source="127.0.0.2")
        silent = [connected(held, port) for _ in range(30)]
        wait_until(lambda: sum(is_closed(one) for one in silent) >= 22)
        assert not is_closed(first)
        first.setblocking(True)
        first.sendall(HEAD + b"\r\n")
        assert first.recv(4096).startswith(b"HTTP/1.1 200")


def test_who_does_not_read_the_answer_makes_room(held: ExitStack) -> None:
    with running(Limits(places=4, head=60, body=60)) as port:
        for _ in range(10):
            assert connected(held, port, HEAD.replace(b"/ ", b"/large ") + b"\r\n").recv(12) == b"HTTP/1.1 200"
        assert ask(port) == 200


def test_who_is_being_answered_keeps_the_place(held: ExitStack) -> None:
    with running(Limits(places=4, head=60, body=60)) as port:
        asked = connected(held, port, HEAD.replace(b"/ ", b"/slow ") + b"\r\n")
        silent = [connected(held, port) for _ in range(10)]
        wait_until(lambda: sum(is_closed(one) for one in silent) >= 6)
        asked.setblocking(True)
        asked.settimeout(SECONDS)
        assert asked.recv(4096).startswith(b"HTTP/1.1 200")
