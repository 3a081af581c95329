"""Who wrote a frame of the log, and the records in it."""

from __future__ import annotations

from typing import Any

from serinus.backends.delta.records import Hello, Malformed, Record, parse_batch, parse_router_line
from serinus.backends.delta.segments import Frame

RELEASE = "release"
ROUTER = "router"
_DAY, _MINUTE = 86_400, 60


def batch_meta(hello: Hello, seq: int) -> dict[str, Any]:
    return {"source": RELEASE, "release": hello.release, "model": hello.model, "boot": hello.boot, "seq": seq}


def router_meta(inode: int, offset: int) -> dict[str, Any]:
    """The body holds the lines of file `inode` up to `offset`; an empty one says that the file was begun."""
    return {"source": ROUTER, "inode": inode, "offset": offset}


def records_of(frame: Frame) -> list[Record]:
    """What was checked on its way in reads without an error; the router's lines that are malformed are left out.

    A record from another day than its arrival is given the time of its arrival: a worker's clock is not to be trusted
    with the table's partitions.
    """
    meta, at = frame.meta, frame.meta["at"]
    if meta["source"] == RELEASE:
        records = parse_batch(frame.body, Hello(meta["release"], meta["model"], meta["boot"])).records
    else:
        records = router_records(frame.body)[0]
    return [record if at - _DAY <= record.time <= at + _MINUTE else record._replace(time=at) for record in records]


def router_records(lines: bytes) -> tuple[list[Record], int]:
    """The records, and how many lines were malformed."""
    records, malformed = [], 0
    for line in lines.splitlines():
        try:
            record = parse_router_line(line)
        except Malformed:
            malformed += 1
            continue
        if record is not None:
            records.append(record)
    return records, malformed
