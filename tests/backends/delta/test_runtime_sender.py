"""The runtime's own sender against the collector's own receiver: both ends of the contract as they are."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from serinus_runtime.records import Records

from serinus.backends.delta import DeltaPredictionLog
from serinus.backends.delta.records import log_token

RELEASE = "card-fraud-7-3f9a2c"


def test_records_of_the_runtime_arrive_once_also_over_a_collector_that_was_killed(collector, home, record) -> None:
    async def send() -> int:
        records = Records(str(home.log_socket), RELEASE, log_token(home.secret.read_text(), RELEASE))
        records.start()
        for number in range(200):
            records.append(record(number))
        await asyncio.sleep(0.3)  # in the middle of sending and acknowledging
        await asyncio.to_thread(collector.kill)
        for number in range(200, 400):
            records.append(record(number, t=time.time()))
        await asyncio.to_thread(collector.start)
        return await records.close(patience=15)

    assert asyncio.run(send()) == 0
    ids: Any = DeltaPredictionLog(home).read("card-fraud").collect()["request_id"]
    assert (ids.len(), ids.n_unique()) == (400, 400)
