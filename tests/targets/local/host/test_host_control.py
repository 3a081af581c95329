"""The host's control socket: who asks is known before anything is read."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest


def say(hosted, *lines: str) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX)
    caller.settimeout(20)
    caller.connect(str(hosted.home.host_socket))
    caller.sendall("\r\n".join(["PUT /releases/x HTTP/1.1", "host: x", *lines, "", ""]).encode())
    return caller


def status(caller: socket.socket) -> int:
    with caller, caller.makefile("rb") as answer:
        return int(answer.readline().split()[1])


@pytest.fixture
def running(hosted):
    hosted.start()
    return hosted


def test_who_does_not_know_the_secret_is_refused_before_the_body(running) -> None:
    """Nothing of the body is sent: the answer comes all the same."""
    for secret in ((), ("authorization: Bearer " + "0" * 32,)):
        assert status(say(running, "content-length: 200000000", *secret)) == 401


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("content-length: 200000000", 413), ("transfer-encoding: chunked", 411), ("content-length: 2", 422)],
)
def test_a_body_is_bounded_also_for_who_knows_it(running, line, wanted) -> None:
    caller = say(running, line, f"authorization: Bearer {running.home.secret.read_text()}")
    if wanted == 422:
        caller.sendall(b"{}")
    assert status(caller) == wanted


@pytest.mark.long
def test_who_says_nothing_is_sent_away_within_seconds_and_keeps_nobody_out(running) -> None:
    with ExitStack() as callers:
        for _ in range(200):
            caller = callers.enter_context(socket.socket(socket.AF_UNIX))
            caller.settimeout(20)
            caller.connect(str(running.home.host_socket))
        running.target.observe()
        assert caller.recv(1) == b""


def test_what_is_sent_without_the_secret_is_not_kept(running) -> None:
    caller = say(running, "content-length: 200000001")
    before = _resident(running.process.pid)
    try:
        for _ in range(64):
            caller.sendall(b"[" * (1 << 20))
    except OSError:
        pass  # it has closed the connection
    caller.close()
    assert _resident(running.process.pid) - before < 10 << 20


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
