"""What the collector takes, from whom, and what it refuses."""

from __future__ import annotations

import json
import socket
import stat
from typing import Any

import polars as pl
import pytest

from serinus.backends.delta import DeltaPredictionLog
from serinus.backends.delta import __main__ as delta_main
from serinus.backends.delta.records import log_token
from serinus.core.home import Home

RELEASE = "card-fraud-7-3f9a2c"
OTHER = "card-fraud-8-aaaaaa"


@pytest.fixture(scope="module")
def collector(running_collector):
    """One for all of these tests: none of them harms it."""
    return running_collector


@pytest.fixture(scope="module")
def home(collector) -> Home:
    return collector.home


@pytest.fixture(scope="module")
def log(home: Home) -> DeltaPredictionLog:
    return DeltaPredictionLog(home)


def test_a_batch_that_is_sent_again_is_acknowledged_again_and_stored_once(collector, home, record, log) -> None:
    batch = json.dumps({"seq": 1, "records": [record(id="sent-again")]}).encode() + b"\n"
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(home.log_socket))
            connection.sendall(_hello(home) + batch)
            assert json.loads(connection.makefile().readline()) == {"ack": 1}
    again = log.read().filter(pl.col("request_id") == "sent-again").collect()
    assert again.height == 1


def test_a_release_can_write_as_itself_only(collector, home, record, log, until) -> None:
    for said in (
        _hello(home, OTHER, token="0" * 64),
        _hello(home, OTHER, token=json.loads(_hello(home))["token"]),
        _hello(home, model="another-model"),
        _hello(home, "../../etc/passwd"),
    ):
        assert _refused(home, said + json.dumps({"seq": 1, "records": [record(id="forged")]}).encode() + b"\n")
    assert log.read().filter(pl.col("request_id") == "forged").collect().height == 0
    until(lambda: collector.status().get("refused_connections", 0) >= 4)


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[1]",
        b'{"seq": "1", "records": []}',
        b'{"seq": 1, "records": [7]}',
        b'{"seq": 1, "records": [{"t": NaN}]}',
        b"9" * (9 * 1024 * 1024),
    ],
    ids=["no JSON", "a list", "seq a string", "record a number", "time NaN", "too long"],
)
def test_a_malformed_batch_closes_that_connection_only(collector, worker, home, record, line: bytes) -> None:
    neighbour = worker()
    neighbour.submit([record(1)])
    neighbour.settle()
    assert _refused(home, _hello(home) + line + b"\n")
    neighbour.submit([record(2)])
    neighbour.settle()
    assert neighbour.reconnects == 0


def test_a_line_of_the_log_about_a_malformed_batch_holds_none_of_its_values(collector, home, record) -> None:
    secret = {**record(1), "entity": "4111111111111111", "status": "4111111111111111"}
    assert _refused(home, _hello(home) + json.dumps({"seq": 1, "records": [secret]}).encode() + b"\n")
    assert "status is not a whole number" in collector.log()
    assert "4111" not in collector.log()


def test_the_socket_is_open_to_its_owner_alone(collector, home) -> None:
    assert stat.S_IMODE(home.log_socket.stat().st_mode) == 0o600


def test_a_second_collector_of_one_home_waits_and_then_refuses(collector, home, monkeypatch) -> None:
    monkeypatch.setattr(delta_main, "_LOCK_SECONDS", 0.2)
    assert delta_main.main(["--home", str(home.path)]) == 1


def _hello(home: Home, release: str = RELEASE, **changes: Any) -> bytes:
    said = {"release": release, "token": log_token(home.secret.read_text(), release), "boot": "0123456789abcdef"}
    return json.dumps({**said, **changes}).encode() + b"\n"


def _refused(home: Home, lines: bytes) -> bool:
    """Whether the connection is closed without an acknowledgement."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(home.log_socket))
        try:
            connection.sendall(lines)
            return connection.recv(100) == b""
        except (BrokenPipeError, ConnectionResetError):
            return True
