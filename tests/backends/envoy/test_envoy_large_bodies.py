"""A body over the limit, through Envoy, to the server of a worker: always 413, and nothing against the release."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from envoy_harness import Proxy, routing
from serinus_runtime.base.messages import Request
from serinus_runtime.http.server import Response, Server

RELEASE = "limits-1-aaaaaa"
LIMIT = 1 << 20
SLOW = 1.0
"""Seconds that a request may take to arrive at the release."""
PIECE = 1 << 16
PATH = "/v2/models/limits/infer"
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n".encode()


def handle(request: Request) -> Response:
    if request.refusal is not None:
        return Response(request.refusal.status, json.dumps({"error": str(request.refusal)}).encode())
    return Response(200, b"%d" % len(request.body))


@pytest.fixture
def limited(proxy: Proxy) -> Iterator[Proxy]:
    """A release that takes bodies up to `LIMIT`, which arrive within `SLOW` seconds."""
    path = str(proxy.home.release_socket(RELEASE))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    loop = asyncio.new_event_loop()
    server = Server(listener, handle, LIMIT, slow=SLOW)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    proxy.router.apply(routing(proxy.arm(RELEASE, 10_000), model="limits", timeout_ms=10_000))
    yield proxy
    asyncio.run_coroutine_threadsafe(server.drain(patience=0.0), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def sized(size: int) -> Iterator[bytes]:
    yield HEAD + b"content-length: %d\r\n\r\n" % size
    for _ in range(size // PIECE):
        yield b"x" * PIECE


def chunked(size: int) -> Iterator[bytes]:
    yield HEAD + b"transfer-encoding: chunked\r\n\r\n"
    for _ in range(size // PIECE):
        yield b"%x\r\n%b\r\n" % (PIECE, b"x" * PIECE)
    yield b"0\r\n\r\n"


def slowly(pieces: Iterator[bytes], after: int) -> Iterator[bytes]:
    """Too slowly to arrive in time, after the first so many."""
    end = time.monotonic() + 3 * SLOW
    for number, piece in enumerate(pieces):
        if number > after and time.monotonic() < end:
            time.sleep(SLOW / 4)
        yield piece


def status_of(proxy: Proxy, pieces: Iterator[bytes]) -> int:
    """Of the answer to a caller who sends all of it before it reads anything, or as much as it can."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as caller:
        try:
            for piece in pieces:
                caller.sendall(piece)
        except ConnectionError:  # it is not taken any more; what was answered can still be read
            pass
        return int(caller.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("form", [sized, chunked])
@pytest.mark.parametrize("mib", [2, 70, 150])
def test_a_body_over_the_limit_is_413_every_time(
    limited: Proxy, form: Callable[[int], Iterator[bytes]], mib: int
) -> None:
    with ThreadPoolExecutor(3) as callers:
        statuses = list(callers.map(lambda _: status_of(limited, form(mib << 20)), range(12)))
    assert statuses == [413] * 12
    assert limited.local_answers() == []


def test_clients_read_why(limited: Proxy) -> None:
    body = b"x" * (70 << 20)
    with httpx.Client(base_url=limited.url, timeout=60) as client:
        for headers in ({}, {"expect": "100-continue"}):
            answer = client.post(PATH, content=body, headers=headers)
            assert answer.status_code == 413
            assert answer.json() == {"error": f"the body is larger than {LIMIT} bytes"}
            assert client.post(PATH, content=b"x" * LIMIT).text == str(LIMIT), "the connection goes on"


@pytest.mark.parametrize("form", [sized, chunked])
def test_a_body_over_the_limit_that_does_not_end_in_time_is_413_as_well(
    limited: Proxy, form: Callable[[int], Iterator[bytes]]
) -> None:
    with ThreadPoolExecutor(6) as callers:
        statuses = list(callers.map(lambda _: status_of(limited, slowly(form(8 << 20), 24)), range(6)))
    assert statuses == [413] * 6
    assert limited.local_answers() == []


def test_a_body_within_the_limit_that_does_not_arrive_in_time_is_408_and_nothing_against_the_release(
    limited: Proxy,
) -> None:
    with ThreadPoolExecutor(6) as callers:
        statuses = list(callers.map(lambda _: status_of(limited, slowly(chunked(LIMIT), 8)), range(6)))
    assert statuses == [408] * 6
    assert limited.local_answers() == []
