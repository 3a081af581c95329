"""The runtime's own sender against the collector's own receiver: both ends of the contract as they are."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from serinus_runtime.records.sender import FIELDS, Records

from serinus.core.home import Home
from serinus.core.keys import log_token
from serinus.predictions import DeltaPredictionLog

RELEASE = "card-fraud-7-3f9a2c"


def as_runtime(record: dict[str, Any]) -> tuple[Any, ...]:
    """The same record as a request of the runtime leaves it."""
    known = {
        "cached": False,
        "prediction": f"own-{record['id']}",
        "caller": "payments",
        **record,
        "columns": tuple(record["columns"]),
    }
    return tuple(known[name] for name in FIELDS)


def connected(home: Home) -> socket.socket:
    """As the host hands it to a worker."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(home.log_socket))
    said = {"release": RELEASE, "token": log_token(home.secret.read_text(), RELEASE), "boot": "0123456789abcdef"}
    connection.sendall(json.dumps({**said, "format": 2}).encode() + b"\n")
    return connection


def test_records_of_the_runtime_arrive_once_also_over_a_collector_that_was_killed(collector, home, record) -> None:
    async def send() -> int:
        records = Records()
        records.start()
        records.take(connected(home))
        for number in range(200):
            records.append(as_runtime(record(number)))
        await asyncio.sleep(0.3)  # in the middle of sending and acknowledging
        await asyncio.to_thread(collector.kill)
        for number in range(200, 400):
            records.append(as_runtime(record(number, cached=True)))
        await asyncio.to_thread(collector.start)
        records.take(connected(home))
        return await records.close(patience=15)

    assert asyncio.run(send()) == 0
    rows = DeltaPredictionLog(home).read("card-fraud").collect()
    assert (rows.height, rows["request_id"].n_unique()) == (400, 400)
    assert rows["cached"].sum() == 200
    assert (rows["prediction_id"] == "own-" + rows["request_id"]).all()
    assert set(rows["caller"]) == {"payments"}
    assert set(rows["inputs"]) == {'[{"amount":12.5,"hour":3}]'}
    assert set(map(tuple, rows["answers"])) == {(0.25,)}
