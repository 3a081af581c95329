"""What the collector takes, from whom, and what it refuses."""

from __future__ import annotations

import json
import socket
import stat
from typing import Any

import polars as pl
import pytest

from serinus.core.home import Home
from serinus.core.keys import log_token
from serinus.predictions import DeltaPredictionLog, process
from serinus.predictions import __main__ as delta_main
from serinus.predictions.intake import listener as intake

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


def test_a_batch_that_is_sent_again_is_acknowledged_again_and_stored_once(collector, home, record, batch, log) -> None:
    sent = batch(1, [record(id="sent-again")])
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(home.log_socket))
            connection.sendall(_hello(home) + sent)
            assert json.loads(connection.makefile().readline()) == {"ack": 1}
    again = log.read().filter(pl.col("request_id") == "sent-again").collect()
    assert again.height == 1


def test_a_release_can_write_as_itself_only(collector, home, record, batch, log, until) -> None:
    for said in (
        _hello(home, OTHER, token="0" * 64),
        _hello(home, OTHER, token=json.loads(_hello(home))["token"]),
        _hello(home, model="another-model"),
        _hello(home, "../../etc/passwd"),
    ):
        assert _refused(home, said + batch(1, [record(id="forged")]))
    assert log.read().filter(pl.col("request_id") == "forged").collect().height == 0
    until(lambda: collector.status().get("refused_connections", 0) >= 4)


def test_a_worker_that_writes_an_earlier_format_is_refused(collector, home, record) -> None:
    assert _refused(home, _hello(home, format=1) + json.dumps({"seq": 1, "records": [record()]}).encode() + b"\n")
    assert f"{RELEASE} does not write format 2" in collector.log()


@pytest.mark.parametrize(
    "line",
    [b"not json", b"[1]", b'{"seq": "1", "bytes": 2}', b'{"seq": 1}', b'{"seq": 1, "bytes": -1}', b"9" * 200_000],
    ids=["no JSON", "a list", "seq a string", "no length", "negative length", "too long"],
)
def test_a_malformed_line_closes_that_connection_only(collector, worker, home, record, line: bytes) -> None:
    neighbour = worker()
    neighbour.submit([record(1)])
    neighbour.settle()
    assert _refused(home, _hello(home) + line + b"\n")
    neighbour.submit([record(2)])
    neighbour.settle()
    assert neighbour.reconnects == 0


def test_a_batch_that_can_never_be_taken_is_lost_once_and_the_worker_goes_on(
    collector, home, record, batch, log, until
) -> None:
    secret = {**record(id="spoilt"), "entity": "4111111111111111", "status": "4111111111111111"}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(home.log_socket))
        connection.sendall(_hello(home, boot="bbbbbbbb") + batch(1, [secret]) + batch(2, [record(id="after-it")]))
        answers = connection.makefile()
        assert json.loads(answers.readline()) == {"ack": 1, "refused": "status holds another type than int"}
        assert json.loads(answers.readline()) == {"ack": 2}
    assert log.read().filter(pl.col("request_id").is_in(["spoilt", "after-it"])).collect().height == 1
    assert "status holds another type than int" in collector.log()
    assert "4111" not in collector.log()
    until(lambda: f"{RELEASE}: 1 batches were malformed and are lost" in collector.status()["warnings"])


def test_a_body_beyond_the_limit_is_passed_over(collector, home, record, batch) -> None:
    length = intake.MAX_BODY + 1
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(home.log_socket))
        connection.sendall(_hello(home, boot="cccccccc") + json.dumps({"seq": 1, "bytes": length}).encode() + b"\n")
        piece = b"x" * 2**20
        for _ in range(length // len(piece)):
            connection.sendall(piece)
        connection.sendall(b"x" * (length % len(piece)) + batch(2, [record(id="after-a-large-one")]))
        answers = connection.makefile()
        assert "longer than" in json.loads(answers.readline())["refused"]
        assert json.loads(answers.readline()) == {"ack": 2}


def test_acknowledgements_come_in_the_order_of_the_batches(collector, home, record, batch) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(home.log_socket))
        connection.sendall(_hello(home, boot="dddddddd"))
        for number in range(1, 6):
            spoilt = {"rows": -1} if number % 2 else {}
            connection.sendall(batch(number, [record(number, **spoilt)]))
        answers = connection.makefile()
        assert [json.loads(answers.readline())["ack"] for _ in range(5)] == [1, 2, 3, 4, 5]


def test_the_socket_is_open_to_its_owner_alone(collector, home) -> None:
    assert stat.S_IMODE(home.log_socket.stat().st_mode) == 0o600


def test_a_second_collector_of_one_home_waits_and_then_refuses(collector, home, monkeypatch) -> None:
    monkeypatch.setattr(process, "_LOCK_SECONDS", 0.2)
    assert delta_main.main(["--home", str(home.path)]) == 1


def _hello(home: Home, release: str = RELEASE, **changes: Any) -> bytes:
    token = log_token(home.secret.read_text(), release)
    said = {"release": release, "token": token, "boot": "0123456789abcdef", "format": 2}
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
