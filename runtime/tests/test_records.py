"""What a worker holds for a collector that is away is bounded, first in memory and then on disk, and what is lost is
counted; nothing of it is on the request path but an append.
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from serinus_runtime.records.batches import FIELDS, Batch
from serinus_runtime.records.sender import Record, Records
from serinus_runtime.records.spill import Spill


def record(number: int, **changed: Any) -> Record:
    values: dict[str, Any] = {
        "t": 1.5, "id": str(number), "entity": None, "role": "canary", "split": "s1", "status": 200, "ms": 1.23456,
        "rows": 1, "scores": [0.5], "answers": None, "fallback": False, "error": None, "cached": False,
        "columns": ("a", "b"), "inputs": [[1.5, "x"]], "prediction": f"own-{number}", "caller": None,
    }  # fmt: skip
    return tuple({**values, **changed}.values())


class Received:
    """What a collector got: the heads of the batches and their bodies."""

    def __init__(self) -> None:
        self.heads: list[dict[str, Any]] = []
        self.bodies: list[dict[str, Any]] = []

    @property
    def ids(self) -> list[int]:
        return [int(identity) for body in self.bodies for identity in body["id"]]

    @property
    def dropped(self) -> int:
        return sum(head.get("dropped", 0) for head in self.heads)

    async def collect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heads.append(json.loads(line))
            self.bodies.append(json.loads(await reader.readexactly(self.heads[-1]["bytes"])))
            writer.write(b'{"ack":%d}\n' % self.heads[-1]["seq"])


def connected(path: Path) -> socket.socket:
    """As the host hands it in."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def collected(path: Path, count: int, most_bytes: int, *, most_spilled: int = 0, lots: int = 1) -> Received:
    """What reaches a collector that starts only after `count` records were made, in `lots` batches."""
    received = Received()

    async def run() -> None:
        scratch = path.parent if most_spilled else None
        records = Records(most_bytes, scratch=scratch, most_spilled=most_spilled)
        records.start()
        for lot in range(lots):
            for i in range(lot * count // lots, (lot + 1) * count // lots):
                records.append(record(i, scores=[float("nan") if i == 0 else 0.5]))
            while records._fresh:
                await asyncio.sleep(0)
                records._encode()
            records._send()
        server = await asyncio.start_unix_server(received.collect, str(path))
        records.take(connected(path))
        assert await records.close(patience=5.0) == 0
        server.close()

    asyncio.run(run())
    return received


def test_within_its_bound_all_arrive_in_order_and_nan_is_null(short_path: Path) -> None:
    received = collected(short_path / "l.sock", 500, most_bytes=1 << 20)
    assert received.ids == list(range(500))
    assert received.bodies[0]["scores"][0] == [None]
    assert [head["seq"] for head in received.heads] == list(range(1, len(received.heads) + 1))
    assert received.dropped == 0


def test_beyond_its_bound_records_are_dropped_and_counted(short_path: Path) -> None:
    received = collected(short_path / "l.sock", 1000, most_bytes=20_000, lots=10)
    assert 0 < len(received.ids) < 1000
    assert len(received.ids) + received.dropped == 1000


def test_what_memory_cannot_hold_waits_in_a_file_and_arrives_in_order(short_path: Path) -> None:
    received = collected(short_path / "l.sock", 1000, most_bytes=20_000, most_spilled=1 << 20, lots=10)
    assert received.ids == list(range(1000))
    assert received.dropped == 0
    assert [head["seq"] for head in received.heads] == list(range(1, len(received.heads) + 1))
    assert not list(short_path.glob("tmp*")), "the file has no name"


def test_what_the_file_cannot_hold_either_is_dropped_and_counted(short_path: Path) -> None:
    received = collected(short_path / "l.sock", 1000, most_bytes=20_000, most_spilled=20_000, lots=10)
    assert 0 < len(received.ids) < 1000
    assert len(received.ids) + received.dropped == 1000


def test_it_is_full_once_memory_and_file_are_and_not_before(short_path: Path) -> None:
    async def run() -> None:
        records = Records(20_000, scratch=short_path, most_spilled=20_000)
        seen = [records.full()]
        for _ in range(300):
            records.append(record(1))
            records._encode()
            records._send()
            seen.append(records.full())
        assert seen[0] is False
        assert seen[-1] is True
        assert seen == sorted(seen)
        await records.close(patience=0)

    asyncio.run(run())


def test_a_spill_whose_disk_is_full_says_so(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "is not there", 100)
    assert spill.put(1, b"abc") is False
    assert len(spill) == 0


def test_a_closing_worker_says_how_much_nobody_acknowledged(short_path: Path) -> None:
    async def run() -> int:
        records = Records()
        records.start()
        records.append(record(1))
        return await records.close(patience=0.1)

    assert asyncio.run(run()) == 1


def test_an_idle_worker_has_no_timer(short_path: Path) -> None:
    async def run() -> None:
        records = Records()
        records.start()
        assert records._encoding is None
        records.append(record(1))
        assert records._encoding is not None
        while records._encoding is not None or records._sending is not None:
            await asyncio.sleep(0.01)
        assert await records.close(patience=0) == 1

    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_batch_has_one_array_a_field_and_each_header_once() -> None:
    batch = Batch()
    batch.add([record(1), record(2, columns=["c"], inputs=b'[["\xc3\xa9"]]', answers=[0.1], fallback=True)])
    batch.add([record(3, columns=None, inputs=None, error="bad-request", cached=True)])
    head, body = batch.encoded(7, 2).split(b"\n", 1)
    assert json.loads(head) == {"seq": 7, "bytes": len(body), "dropped": 2}
    content = json.loads(body)
    assert content.pop("headers") == [["a", "b"], ["c"]]
    assert tuple(content) == FIELDS
    assert content["columns"] == [0, 1, None]
    assert content["inputs"] == ['[[1.5,"x"]]', '[["é"]]', None]
    assert content["id"] == ["1", "2", "3"]
    assert content["prediction"] == ["own-1", "own-2", "own-3"]
    assert content["ms"] == [1.235] * 3
    assert (content["fallback"], content["cached"]) == ([0, 1, 0], [0, 0, 1])
    assert content["answers"] == [None, [0.1], None]


@pytest.mark.parametrize("dropped", [0, 3])
def test_an_empty_batch_can_say_what_was_dropped(dropped: int) -> None:
    head, body = Batch().encoded(1, dropped).split(b"\n", 1)
    assert json.loads(head).get("dropped", 0) == dropped
    assert {name: json.loads(body)[name] for name in FIELDS} == {name: [] for name in FIELDS}
