"""A caller who holds connections and asks nothing takes no place from others for longer than seconds."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from envoy_harness import Proxy, routing
from waiting import wait_until

from serinus.backends.envoy import Crowding, admin_socket, bootstrap, starting
from serinus.core.home import Home
from serinus.lib.plain_http import NO_TLS

PLACES = 20
SECONDS = 20.0
"""In which a place must have become free; the machine may be busy."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """An Envoy with few places for callers, and less time for them, so that the tests take less."""
    monkeypatch.setattr(starting, "_MAX_CALLERS", PLACES)
    monkeypatch.setattr(starting, "_FIRST_LINE", "2s")
    times = {"request_headers_timeout": "2s", "request_timeout": "3s"}
    monkeypatch.setattr(starting, "_EDGE", starting._EDGE | times)
    proxy = Proxy(tmp_path / "home")
    yield proxy.start()
    proxy.close()


def test_callers_have_seconds_to_say_what_they_want(tmp_path: Path) -> None:
    settings = bootstrap(Home(tmp_path), port=1)
    listener = settings["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    times = (manager["request_headers_timeout"], listener["listener_filters_timeout"], manager["request_timeout"])
    assert times == ("5s", "5s", "10s")


def live(proxy: Proxy) -> int:
    """0: it was not answered."""
    try:
        return httpx.get(f"{proxy.url}/v2/health/live", timeout=2, verify=NO_TLS).status_code
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


@pytest.fixture
def crowded(small: Proxy) -> Iterator[Proxy]:
    """With what looks at its connections, as in the control process."""
    stop = threading.Event()
    watching = Crowding(small.home, admin_socket(small.home), PLACES)
    thread = threading.Thread(target=watching.run, args=(stop,))
    thread.start()
    yield small
    stop.set()
    thread.join()


def serve(proxy: Proxy) -> None:
    """A model whose release waits for bodies."""
    proxy.releases.start("r1")
    proxy.router.apply(routing(proxy.arm("r1", 10_000)))


REQUEST = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
"""With empty settings."""


def stream(path: bytes, *more: bytes) -> bytes:
    """POST to `path` on an HTTP/2 connection, by a stream that does not end: its body is still to come."""
    headers = b"\x83\x86\x44" + bytes([len(path)]) + path + b"\x41\x01a" + b"".join(more)
    return PREFACE + len(headers).to_bytes(3, "big") + bytes.fromhex("010400000001") + headers


STREAM = stream(b"/v2/models/fraud/infer")
GRPC = stream(b"/inference.GRPCInferenceService/ModelInfer", b"\x0f\x10\x10application/grpc", b"\x40\x02te\x08trailers")
BODY = b"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(REQUEST, id="one-request"),
        pytest.param(PREFACE, id="http2", marks=pytest.mark.long),
        pytest.param(STREAM, id="a-stream-without-a-body", marks=pytest.mark.long),
        pytest.param(GRPC, id="grpc-without-a-message", marks=pytest.mark.long),
        pytest.param(BODY, id="no-body", marks=pytest.mark.long),
        pytest.param(BODY + b"half", id="half-a-body", marks=pytest.mark.long),
    ],
)
def test_connections_that_ask_once_and_rest_make_room_within_seconds(crowded: Proxy, said: bytes) -> None:
    serve(crowded)
    with ExitStack() as held:
        for _ in range(2 * PLACES):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", crowded.port), timeout=5))
            with suppress(OSError):  # there is no place for it
                connection.sendall(said)
                connection.settimeout(0.2)
                connection.recv(4096)
        wait_until(lambda: live(crowded) == 200, SECONDS)


@pytest.mark.long
def test_an_answer_that_nobody_reads_does_not_keep_a_place(crowded: Proxy) -> None:
    """The release answers with what it is sent."""
    serve(crowded)
    body = b"x" * 900_000
    head = f"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    with ExitStack() as held:
        for _ in range(2 * PLACES):
            connection = held.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(OSError):  # there is no place for it
                connection.connect(("127.0.0.1", crowded.port))
                connection.sendall(head.encode() + body)
        wait_until(lambda: live(crowded) == 200, SECONDS)


@pytest.mark.long
def test_a_byte_of_a_body_at_a_time_does_not_keep_a_place(crowded: Proxy) -> None:
    serve(crowded)
    with ExitStack() as held:
        slow = []
        for _ in range(PLACES):
            slow.append(held.enter_context(socket.create_connection(("127.0.0.1", crowded.port), timeout=5)))
            with suppress(OSError):
                slow[-1].sendall(BODY)

        def answered() -> bool:
            for connection in slow:
                with suppress(OSError):
                    connection.send(b"x")
            return live(crowded) == 200

        wait_until(answered, SECONDS)


def test_while_there_is_room_a_connection_may_rest(crowded: Proxy) -> None:
    with ExitStack() as held:
        resting = [
            held.enter_context(socket.create_connection(("127.0.0.1", crowded.port), timeout=5))
            for _ in range(PLACES // 4)
        ]
        for connection in resting:
            connection.sendall(REQUEST)
            connection.recv(4096)
        with socket.create_connection(("127.0.0.1", crowded.port), timeout=5) as silent:
            wait_until(lambda: not is_open(silent), SECONDS)
        assert all(is_open(connection) for connection in resting)


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
