"""The runtime's own sender against the collector's own receiver: both ends of the contract as they are."""

from __future__ import annotations

import asyncio
from typing import Any

from serinus_runtime.records import FIELDS, Records

from serinus.backends.delta import DeltaPredictionLog
from serinus.backends.delta.records import log_token

RELEASE = "card-fraud-7-3f9a2c"


def as_runtime(record: dict[str, Any]) -> tuple[Any, ...]:
    """The same record as a request of the runtime leaves it."""
    known = {"cached": False, **record, "id": record["id"].encode(), "columns": tuple(record["columns"])}
    return tuple(known[name] for name in FIELDS)


def test_records_of_the_runtime_arrive_once_also_over_a_collector_that_was_killed(collector, home, record) -> None:
    async def send() -> int:
        records = Records(str(home.log_socket), RELEASE, log_token(home.secret.read_text(), RELEASE))
        records.start()
        for number in range(200):
            records.append(as_runtime(record(number)))
        await asyncio.sleep(0.3)  # in the middle of sending and acknowledging
        await asyncio.to_thread(collector.kill)
        for number in range(200, 400):
            records.append(as_runtime(record(number, cached=True)))
        await asyncio.to_thread(collector.start)
        return await records.close(patience=15)

    assert asyncio.run(send()) == 0
    rows = DeltaPredictionLog(home).read("card-fraud").collect()
    assert (rows.height, rows["request_id"].n_unique()) == (400, 400)
    assert rows["cached"].sum() == 200
    assert set(rows["inputs"]) == {'[{"amount":12.5,"hour":3}]'}
    assert set(map(tuple, rows["answers"])) == {(0.25,)}
