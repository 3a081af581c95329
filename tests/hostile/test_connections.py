"""Connections that say nothing, or next to nothing: others are answered, and who begins no request is closed."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from hostile_serinus import Attacked

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

SILENT = 150
"""Connections of each kind."""

SAYS = {
    "nothing": b"",
    "half a line": b"GET /v2/health/live HT",
    "half a head": b"GET /v2/health/live HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: ",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard == resource.RLIM_INFINITY else max(soft, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("door", ["envoy", "api", "mlflow"])
def test_others_are_answered_and_who_is_silent_is_closed(serinus: Attacked, door: str) -> None:
    address = urlsplit(getattr(serinus.addresses, door))
    with contextlib.ExitStack() as held:
        silent: dict[str, list[socket.socket]] = {kind: [] for kind in SAYS}
        for kind, says in SAYS.items():
            for _ in range(SILENT):
                try:
                    stream = socket.create_connection((address.hostname, address.port), timeout=2)
                    stream.sendall(says)
                except OSError:  # no place for more of one source is an answer as well
                    break
                silent[kind].append(held.enter_context(stream))
        assert len(silent["nothing"]) > 20
        began = time.monotonic()
        answers = [_answered(serinus, door)]
        while time.monotonic() - began < 45 and _waiting(silent):
            answers.append(_answered(serinus, door))
            select.select([], [], [], 0.5)
        assert all(answers), answers
        assert _waiting(silent) == {}


def _waiting(silent: dict[str, list[socket.socket]]) -> dict[str, int]:
    """Connections that are open. Those of HTTP/2 may stay, as clients keep them for later, until places run out."""
    return {kind: _open(streams) for kind, streams in silent.items() if kind != "HTTP/2" and _open(streams)}


def _answered(serinus: Attacked, door: str) -> bool:
    paths = {"envoy": "/v2/health/live", "api": "/healthz", "mlflow": "/health"}
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.get(f"{getattr(serinus.addresses, door)}{paths[door]}", timeout=5, trust_env=False)
        return answer.status_code == 200
    return False


def _open(streams: list[socket.socket]) -> int:
    count = 0
    for stream in streams:
        stream.setblocking(False)
        try:
            while stream.recv(65536):
                pass
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count
