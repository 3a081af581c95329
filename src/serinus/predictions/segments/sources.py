"""Who wrote a frame of the log, and the records in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.columns import Columns, of_replies, parse_body, timed_by
from serinus.predictions.segments.files import Frame
from serinus.predictions.segments.format1 import parse_format1
from serinus.predictions.segments.parsed import Key, Parsed
from serinus.predictions.segments.wire import FORMAT, BatchHead, Hello, LocalReply, Malformed, parse_router_line

RELEASE = "release"
ROUTER = "router"


def batch_meta(hello: Hello, head: BatchHead) -> dict[str, Any]:
    dropped = {"dropped": head.dropped} if head.dropped else {}
    return {"source": RELEASE, "format": FORMAT, **hello._asdict(), "seq": head.seq, **dropped}


def router_meta(inode: int, offset: int) -> dict[str, Any]:
    """The body holds the lines of file `inode` up to `offset`; an empty one says that the file was begun."""
    return {"source": ROUTER, "inode": inode, "offset": offset}


def records_of(frames: Iterable[Frame], parsed: Parsed | None = None, aside: Aside | None = None) -> Columns:
    """What was checked on its way in reads without an error; the router's lines that are malformed are left out.
    What is taken from `parsed` lacks its inputs. Without `aside` none is set aside."""
    found = Columns()
    for frame in frames:
        known = parsed.take(batch_key(frame.meta)) if parsed and frame.meta["source"] == RELEASE else None
        records = timed_by(_records(frame) if known is None else known, frame.meta["at"])
        if aside is not None:
            aside.mark(records, frame.meta["at"])
        found.extend(records)
    return found


def batch_key(meta: Mapping[str, Any]) -> Key:
    return meta["release"], meta["boot"], meta["seq"]


def _records(frame: Frame) -> Columns:
    meta = frame.meta
    if meta["source"] == ROUTER:
        return of_replies(router_replies(frame.body)[0])
    hello = Hello(meta["release"], meta["model"], meta["boot"])
    return parse_body(frame.body, hello) if meta.get("format") == FORMAT else parse_format1(frame.body, hello)


def router_replies(lines: bytes) -> tuple[list[LocalReply], int]:
    """Those that were answered, and how many lines were malformed."""
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
