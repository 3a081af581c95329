"""A real worker that reports its load, and drains without closing a connection first."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WAITS = """
import pathlib, time

class Model:
    def __init__(self, path):
        self.over = pathlib.Path(path, "over")

    def predict(self, data, params=None):
        if data["country"].iloc[0] == "wait":
            print("it waits", flush=True)
            while not self.over.exists():
                time.sleep(0.01)
        return data["amount"].to_numpy(dtype="float64")

def _load_pyfunc(path):
    return Model(path)
"""
"""Answers a request with the country `wait` once there is a file."""
HEALTH = b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def worker(start_worker: Callable[..., Any], adds_up: Path) -> Any:
    worker = start_worker(adds_up)
    worker.wait_ready()
    return worker


def connected(worker: Any) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(10)
    stream.connect(str(worker.socket))
    return stream


def asked(stream: socket.socket) -> bytes:
    stream.sendall(HEALTH)
    return stream.recv(65536)


def test_it_reports_what_it_has_answered_and_only_where_something_has_changed(worker: Any) -> None:
    for _ in range(3):
        assert worker.client.get("/v2/health/ready").status == 200
    reports = [worker.report()]
    while reports[-1]["requests"] < 3:
        reports.append(worker.report())
    assert reports[-1] == {"state": "stats", "requests": 3, "waiting": 0, "connections": 1}
    worker.client.close()
    assert worker.report() == {"state": "stats", "requests": 3, "waiting": 0, "connections": 0}


def test_told_to_drain_it_answers_who_is_connected_accepts_nobody_and_goes_last(
    worker: Any, wait_until: Callable[..., Any]
) -> None:
    with connected(worker) as first, connected(worker) as kept, connected(worker) as idle:
        assert not any(b"connection: close" in asked(stream) for stream in (first, kept, idle))
        worker.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: b"connection: close" in asked(first))
        with pytest.raises(ConnectionRefusedError):  # the test holds no descriptor of the socket, as a host would
            connected(worker)
        assert b"connection: close" in asked(kept)
        assert kept.recv(1) == b""
        assert worker.process.poll() is None
        assert b"connection: close" in asked(idle)
    assert worker.process.wait(10) == 0


@pytest.mark.parametrize("uvloop", [False, True])
def test_who_connects_in_the_moment_in_which_it_is_told_to_drain_is_answered(
    start_worker: Callable[..., Any],
    make_artifact: Callable[..., Path],
    tmp_path: Path,
    wait_until: Callable[..., Any],
    uvloop: bool,
) -> None:
    """The event loop sees the signal and the connection at once, the signal first."""
    artifact = make_artifact(tmp_path / "model", WAITS)
    worker = start_worker(artifact, with_uvloop=uvloop)
    worker.wait_ready()
    row = json.dumps({"dataframe_split": {"columns": ["amount", "hour", "country"], "data": [[12.5, 3, "wait"]]}})
    head = "POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with connected(worker) as first:
        first.sendall(f"{head}content-length: {len(row)}\r\n\r\n{row}".encode())
        wait_until(lambda: "it waits" in worker.log.read_text())
        worker.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: not pending(worker.process.pid, signal.SIGUSR1))
        with connected(worker) as late:
            late.sendall(HEALTH)
            (artifact / "over").touch()
            assert first.recv(65536).startswith(b"HTTP/1.1 200")
            answer = late.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    assert worker.process.wait(10) == 0


def pending(pid: int, number: signal.Signals) -> bool:
    """Whether the process has not taken the signal yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(sum(int(mask, 16) >> (number - 1) & 1 for mask in re.findall(r"(?:Sig|Shd)Pnd:\s*(\w+)", status)))


def test_told_to_rebalance_it_closes_half_of_its_connections_with_their_next_answer(
    worker: Any, wait_until: Callable[..., Any]
) -> None:
    streams = [connected(worker) for _ in range(4)]
    assert not any(b"connection: close" in asked(stream) for stream in streams)
    worker.process.send_signal(signal.SIGUSR2)

    def half_are_closed() -> bool:
        for stream in [*streams]:
            if b"connection: close" in asked(stream):
                streams.remove(stream)
                stream.close()
        return len(streams) == 2

    wait_until(half_are_closed)
    for stream in streams:
        assert b"connection: close" not in asked(stream)
        stream.close()


def test_a_worker_that_is_stopped_while_it_drains_goes_at_once(worker: Any) -> None:
    with connected(worker) as kept:
        asked(kept)
        worker.process.send_signal(signal.SIGUSR1)
        assert worker.stop() == 0
