"""The writers of frames, and the records in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.columns import Columns, of_replies, parse_body, timed_by
from serinus.predictions.segments.files import Frame
from serinus.predictions.segments.format1 import parse_format1
from serinus.predictions.segments.marks import FORMAT
from serinus.predictions.segments.parsed import Key, Parsed
from serinus.predictions.segments.wire import (
    BatchHead,
    GatewayHello,
    Hello,
    LocalReply,
    Malformed,
    parse_router_line,
)

RELEASE = "release"
ROUTER = "router"
"""The router of this machine. Its file of local replies is followed."""
GATEWAY = "gateway"
"""A router on another machine, which sends its local replies."""


def batch_meta(hello: Hello, head: BatchHead) -> dict[str, Any]:
    """Returns the `meta` of a worker's batch."""
    dropped = {"dropped": head.dropped} if head.dropped else {}
    return {"source": RELEASE, "format": FORMAT, **hello._asdict(), "seq": head.seq, **dropped}


def gateway_meta(hello: GatewayHello, head: BatchHead) -> dict[str, Any]:
    """Returns the meta data of a frame whose body holds lines of a gateway's local replies."""
    return {"source": GATEWAY, **hello._asdict(), "seq": head.seq}


def writer_of(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the writer that numbers its frames: a worker or a gateway's agent. Release ids contain no slash."""
    if meta["source"] == GATEWAY:
        return f"{GATEWAY}/{meta['gateway']}", meta["boot"]
    return meta["release"], meta["boot"]


def holds_replies(meta: Mapping[str, Any]) -> bool:
    """Tells whether the body holds a router's lines rather than a worker's batch."""
    return meta["source"] in (ROUTER, GATEWAY)


def router_meta(inode: int, offset: int) -> dict[str, Any]:
    """Returns the `meta` of lines of file `inode` up to `offset`. An empty body means that reading of the file has
    begun."""
    return {"source": ROUTER, "inode": inode, "offset": offset}


def records_of(frames: Iterable[Frame], parsed: Parsed | None = None, aside: Aside | None = None) -> Columns:
    """Returns the records of frames.

    Batches were validated on arrival. Malformed lines of the router are left out. Records from `parsed` have no inputs.
    Without `aside` no record is set aside.
    """
    found = Columns()
    for frame in frames:
        known = parsed.take(batch_key(frame.meta)) if parsed and frame.meta["source"] == RELEASE else None
        records = timed_by(_records(frame) if known is None else known, frame.meta["at"])
        if aside is not None:
            aside.mark(records, frame.meta["at"])
        found.extend(records)
    return found


def batch_key(meta: Mapping[str, Any]) -> Key:
    """Returns the key of a batch by its `meta`."""
    return meta["release"], meta["boot"], meta["seq"]


def _records(frame: Frame) -> Columns:
    meta = frame.meta
    if holds_replies(meta):
        return of_replies(router_replies(frame.body)[0])
    hello = Hello(meta["release"], meta["model"], meta["boot"])
    return parse_body(frame.body, hello) if meta.get("format") == FORMAT else parse_format1(frame.body, hello)


def router_replies(lines: bytes) -> tuple[list[LocalReply], int]:
    """Returns the requests that the router answered, and the number of malformed lines."""
    replies, malformed = [], 0
    for line in lines.splitlines():
        try:
            reply = parse_router_line(line)
        except Malformed:
            malformed += 1
            continue
        if reply is not None:
            replies.append(reply)
    return replies, malformed
