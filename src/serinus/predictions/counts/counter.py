"""Counting: reads the log after it became durable, and updates the counts.

Counting waits for `SETTLE` seconds. A release that answers just after the router's timeout is recorded before the
router's own answer, because Envoy flushes its access log every 0.2 s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from serinus.predictions.counts.counting import Tally
from serinus.predictions.counts.ledger import Advance, Ledger, RouterReplies, RouterReply
from serinus.predictions.counts.store import CountStore
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.columns import Columns
from serinus.predictions.segments.files import Frame, Position, read_frames
from serinus.predictions.segments.marks import RouterOffset
from serinus.predictions.segments.parsed import Parsed
from serinus.predictions.segments.sources import ROUTER, holds_replies, records_of, writer_of
from serinus.predictions.segments.wire import Malformed, parse_router_line, reached_release

SETTLE = 0.5
_WINDOW_BYTES = 8 * 1024 * 1024


class Counter:
    """Updates the counts. `step` may be called from any thread, but by one at a time."""

    def __init__(
        self,
        directory: Path,
        ledger: Ledger,
        store: CountStore,
        parsed: Parsed,
        now: Callable[[], float],
        aside: Aside | None = None,
    ) -> None:
        self._directory, self._ledger, self._store, self._now = directory, ledger, store, now
        self._parsed, self._aside = parsed, aside
        self._scanned = self.position = ledger.recovered().position
        self._replies = RouterReplies(ledger.replies())
        self._new_replies: list[RouterReply] = []
        self._window: deque[Frame] = deque()
        self._stale = False
        self.records = 0
        """The number of records that this process has counted."""

    def step(self, durable: Position, settle: float = SETTLE) -> bool:
        """Counts records that have settled. Returns whether there may be more to count at once."""
        if self._stale:
            self._stale = False
            self._replies = RouterReplies([*self._ledger.replies(), *self._new_replies])
        complete = self._look_ahead(durable, settle)
        now = self._now()
        horizon = now - settle if complete else self._window[-1].meta["at"] - settle
        # A frame from the future was written before the clock was set back, so it has settled.
        ready = [frame for frame in self._window if frame.meta["at"] <= horizon or frame.meta["at"] > now]
        if not ready:
            return False
        records = self._in_time(records_of(ready, self._parsed, self._aside))
        tally = Tally()
        followed = self._store.following(set(records.release))
        tally.add(records, self._store.watches(set(records.split)), now, followed)
        for frame in ready:
            tally.add_dropped(frame.meta)
        self._ledger.commit(tally, self._advance(ready, now))
        self.position, self._new_replies = ready[-1].end, []
        self.records += len(records)
        for _ in ready:
            self._window.popleft()
        return not complete

    def _in_time(self, records: Columns) -> Columns:
        late = self._replies.overtook(records)
        return records.where([not one for one in late]) if any(late) else records

    def forget(self) -> None:
        """Has the next `step` drop the router's replies that the ledger has dropped. Thread-safe."""
        self._stale = True

    def _look_ahead(self, durable: Position, settle: float) -> bool:
        """Reads ahead for the router's replies. Returns whether it has read everything that is durable."""
        size = sum(len(frame.body) for frame in self._window)
        for frame in read_frames(self._directory, self._scanned, durable):
            self._window.append(frame)
            self._scanned = frame.end
            self._note_replies(frame)
            size += len(frame.body)
            if size > _WINDOW_BYTES and frame.meta["at"] - self._window[0].meta["at"] > settle:
                return False
        return True

    def _note_replies(self, frame: Frame) -> None:
        if not holds_replies(frame.meta):
            return
        for line in frame.body.splitlines():
            reply = _overtaken(line)
            if reply is not None:
                self._replies.add(reply)
                self._new_replies.append(reply)

    def _advance(self, frames: list[Frame], now: float) -> Advance:
        advance = Advance(frames[-1].end, now, replies=self._new_replies)
        for frame in frames:
            meta = frame.meta
            if meta["source"] == ROUTER:
                advance.router = RouterOffset(meta["inode"], meta["offset"])
            else:
                advance.seqs[writer_of(meta)] = meta["seq"]
        return advance


def _overtaken(line: bytes) -> RouterReply | None:
    try:
        reply = parse_router_line(line)
        if reply is None or not reply.release or not reached_release(line):
            return None
    except Malformed:
        return None  # It was counted as malformed when the file was read.
    return RouterReply(reply.prediction_id or reply.request_id, reply.release, reply.start)
