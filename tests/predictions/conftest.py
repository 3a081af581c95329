"""A home, the collector as a process of its own, and a worker that speaks to it as the runtime does."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from serinus.core.home import Home
from serinus.core.keys import log_token
from serinus.predictions.status import read_status

RELEASE = "card-fraud-7-3f9a2c"
MODEL = "card-fraud"


def make_record(number: int = 0, **changes: Any) -> dict[str, Any]:
    """As a worker writes it: a good answer to one row, just now."""
    record = {
        "t": time.time(),
        "id": f"request-{number}",
        "entity": f"card-{number % 97}",
        "role": "champion",
        "split": "s1",
        "status": 200,
        "ms": 4.0,
        "rows": 1,
        "columns": ["amount", "hour"],
        "inputs": [[12.5, 3]],
        "scores": [0.25],
        "answers": [0.25],
        "fallback": False,
        "error": None,
    }
    return {**record, **changes}


def encode_batch(seq: int, records: Sequence[dict[str, Any]], dropped: int = 0) -> bytes:
    """A batch as the runtime writes it, from one dict a record."""
    body = encode_body(records)
    head = {"seq": seq, "bytes": len(body), **({"dropped": dropped} if dropped else {})}
    return json.dumps(head).encode() + b"\n" + body


def encode_body(records: Sequence[dict[str, Any]]) -> bytes:
    plain = ("t", "id", "entity", "role", "split", "status", "ms", "rows", "scores", "answers", "error")
    headers = list(dict.fromkeys(tuple(one["columns"]) for one in records if one.get("columns") is not None))
    inputs = [one.get("inputs") for one in records]
    newer = [name for name in ("prediction", "caller") if any(name in one for one in records)]
    return json.dumps(
        {
            **{name: [one.get(name) for one in records] for name in (*plain, *newer)},
            "fallback": [int(one.get("fallback", False)) for one in records],
            "cached": [int(one.get("cached", False)) for one in records],
            "columns": [headers.index(tuple(one["columns"])) if one.get("columns") else None for one in records],
            "headers": headers,
            "inputs": [None if rows is None else json.dumps(_finite(rows)) for rows in inputs],
        }
    ).encode()


def _finite(value: Any) -> Any:
    """The runtime writes null for NaN."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if value != value else value


class FakeWorker(threading.Thread):
    """Keeps what is not acknowledged and repeats it, in order, after every reconnect."""

    def __init__(self, home: Home, release: str = RELEASE) -> None:
        super().__init__(daemon=True)
        self.home, self.release, self.boot = home, release, secrets.token_hex(8)
        self.unacknowledged: dict[int, bytes] = {}
        self.reconnects = -1
        self._seq = 0
        self._sent = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def submit(self, records: Sequence[dict[str, Any]], **more: Any) -> int:
        with self._lock:
            self._seq += 1
            self.unacknowledged[self._seq] = encode_batch(self._seq, records, **more)
            return self._seq

    def settle(self, timeout: float = 10.0) -> None:
        """Returns once everything is acknowledged."""
        wait_until(lambda: not self.unacknowledged, timeout)

    def end(self) -> None:
        self._ending.set()
        self.join(5)

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self.home.log_socket))
                    self.reconnects += 1
                    self._sent = 0
                    connection.sendall(hello(self.home, self.release, self.boot))
                    self._exchange(connection)
            except OSError:
                self._ending.wait(0.05)

    def _exchange(self, connection: socket.socket) -> None:
        rest = b""
        while not self._ending.is_set():
            with self._lock:
                new = [(seq, line) for seq, line in self.unacknowledged.items() if seq > self._sent]
            for seq, line in new:
                connection.sendall(line)
                self._sent = seq
            readable, _, _ = select.select([connection], [], [], 0.01)
            if readable:
                said = connection.recv(65536)
                if not said:
                    raise ConnectionResetError
                *lines, rest = (rest + said).split(b"\n")
                with self._lock:
                    for line in lines:
                        self.unacknowledged.pop(json.loads(line)["ack"], None)


def hello(home: Home, release: str, boot: str = "0123456789abcdef", **changes: Any) -> bytes:
    said = {
        "release": release,
        "model": release.rsplit("-", 2)[0],
        "token": log_token(home.secret.read_text(), release),
        "boot": boot,
        "format": 2,
    }
    return json.dumps({**said, **changes}).encode() + b"\n"


class CollectorProcess:
    """`python -m serinus.predictions`, started and stopped at will."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "serinus.predictions", "--home", str(self.home.path), *options]
        with (self.home.path / "collector.log").open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log)
        wait_until(lambda: self._answers(), 20)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Asks it to end; its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def status(self) -> dict[str, Any]:
        return dict(read_status(self.home) or {})

    def log(self) -> str:
        return (self.home.path / "collector.log").read_text()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.home.log_socket)) == 0


def make_home(path: Path) -> Home:
    made = Home(path)
    for directory in made.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made.secret.write_text(secrets.token_hex(32) + "\n")
    return made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "h")


@pytest.fixture(scope="module")
def running_collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    """For tests that leave it as it was."""
    process = CollectorProcess(make_home(tmp_path_factory.mktemp("c") / "h"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def collector(home: Home) -> Iterator[CollectorProcess]:
    """Running."""
    process = CollectorProcess(home)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def collector_of(home: Home) -> Iterator[Callable[..., CollectorProcess]]:
    """Starts one with further options."""
    process = CollectorProcess(home)

    def start(*options: str) -> CollectorProcess:
        process.start(*options)
        return process

    yield start
    process.stop()


@pytest.fixture
def worker(home: Home) -> Iterator[Callable[..., FakeWorker]]:
    """Makes workers that are connected as soon as there is a collector."""
    made: list[FakeWorker] = []

    def make(release: str = RELEASE, at: Home = home) -> FakeWorker:
        made.append(FakeWorker(at, release))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    return make_record


@pytest.fixture
def batch() -> Callable[..., bytes]:
    return encode_batch


@pytest.fixture
def body() -> Callable[..., bytes]:
    return encode_body


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def local_reply(home: Home) -> Callable[..., None]:
    """Writes a line as Envoy does."""

    def write(number: int = 0, **changes: Any) -> None:
        line = {
            "t": time.time(),
            "id": f"request-{number}",
            "entity": f"card-{number % 97}",
            "model": MODEL,
            "release": RELEASE,
            "role": "champion",
            "split": "s1",
            "status": 504,
            "flags": "UT",
            "ms": 250,
            **changes,
        }
        with (home.envoy / "local.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    return write
