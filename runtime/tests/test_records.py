"""What a worker holds for a collector that is away is bounded, and what it drops is counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from serinus_runtime.records import Records


def collected(path: Path, count: int, most_bytes: int) -> list[dict[str, Any]]:
    """The batches that reach a collector which starts only after `count` records were made."""
    batches: list[dict[str, Any]] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        while line := await reader.readline():
            batches.append(json.loads(line))
            writer.write(b'{"ack":%d}\n' % batches[-1]["seq"])

    async def run() -> None:
        records = Records(str(path), "r", "t", most_bytes)
        for i in range(count):
            records.append({"id": i, "score": float("nan") if i == 0 else 0.5})
        records.start()
        await asyncio.sleep(0.05)  # the first lot is encoded while nobody listens
        server = await asyncio.start_unix_server(collect, str(path))
        assert await records.close(patience=5.0) == 0
        server.close()

    asyncio.run(run())
    return batches


def test_beyond_its_bound_records_are_dropped_and_counted(short_path: Path) -> None:
    batches = collected(short_path / "l.sock", 1000, most_bytes=2000)
    kept = sum(len(batch["records"]) for batch in batches)
    assert 0 < kept < 1000
    assert kept + sum(batch.get("dropped", 0) for batch in batches) == 1000


def test_within_its_bound_all_arrive_in_order_and_nan_is_null(short_path: Path) -> None:
    batches = collected(short_path / "l.sock", 500, most_bytes=1 << 20)
    records = [record for batch in batches for record in batch["records"]]
    assert [record["id"] for record in records] == list(range(500))
    assert records[0]["score"] is None
    assert [batch["seq"] for batch in batches] == list(range(1, len(batches) + 1))


def test_a_closing_worker_says_how_much_nobody_acknowledged(short_path: Path) -> None:
    async def run() -> int:
        records = Records(str(short_path / "nobody.sock"), "r", "t")
        records.start()
        records.append({"id": 1})
        return await records.close(patience=0.1)

    assert asyncio.run(run()) == 1
