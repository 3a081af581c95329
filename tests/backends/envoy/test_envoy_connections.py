"""A caller who holds connections and asks nothing takes no place from others for longer than seconds."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from envoy_harness import Proxy, wait_until

from serinus.backends.envoy import starting

PLACES = 20
SECONDS = 20.0
"""In which a place must have become free: the limit is 5 s, the machine may be busy."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """An Envoy with few places for callers."""
    monkeypatch.setattr(starting, "_MAX_CALLERS", PLACES)
    proxy = Proxy(tmp_path / "home")
    yield proxy.start()
    proxy.close()


def live(proxy: Proxy) -> int:
    """0: it was not answered."""
    try:
        return httpx.get(f"{proxy.url}/v2/health/live", timeout=2).status_code
    except httpx.TransportError:
        return 0


def is_open(connection: socket.socket) -> bool:
    """What Envoy says before it closes (a 408) is read and passed over."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


SAID = {
    "nothing": b"",
    "half a line": b"GET /v2/heal",
    "half the headers": b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n",
    "half a preface": b"PRI * HTTP/2.0\r\n",
    "another protocol": b"\x16\x03\x01",
}


def test_connections_that_ask_nothing_make_room_within_seconds(small: Proxy) -> None:
    with ExitStack() as held:
        silent = []
        for said in [*SAID.values()] * PLACES:
            connection = held.enter_context(socket.create_connection(("127.0.0.1", small.port), timeout=5))
            with suppress(OSError):  # there is no place for it
                connection.sendall(said)
            silent.append((said, connection))
        began = time.monotonic()
        wait_until(lambda: live(small) == 200, SECONDS)
        assert time.monotonic() - began < SECONDS
        wait_until(lambda: [said for said, connection in silent if is_open(connection)] == [], SECONDS)


def test_a_connection_that_has_asked_may_rest_for_longer_than_one_that_has_not(small: Proxy) -> None:
    caller = http.client.HTTPConnection("127.0.0.1", small.port, timeout=5)
    with closing(caller), socket.create_connection(("127.0.0.1", small.port), timeout=5) as silent:
        for _ in range(2):
            caller.request("GET", "/v2/health/live")
            answer = caller.getresponse()
            assert (answer.status, answer.read() is not None) == (200, True)
            wait_until(lambda: not is_open(silent), SECONDS)
            caller.auto_open = 0  # from here on it may not connect again


def test_a_request_in_slow_pieces_is_answered(small: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as slow:
        for piece in (b"GET /v2/health/live HT", b"TP/1.1\r\nHo", b"st: serinus\r\n", b"\r\n"):
            slow.sendall(piece)
            time.sleep(0.5)  # the pace of the caller, not a wait for something to be done
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")
