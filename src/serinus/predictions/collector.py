"""The collector: takes in records, makes them durable, counts them and rolls them up. Each home has one.

Each loop below runs forever and does one thing. A temporary failure (a full disk, a locked database) is reported in the
status, and the loop tries again. Any other failure ends the process. The next one continues from the files on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.disturbances import Disturbances
from serinus.predictions.counts import schema
from serinus.predictions.counts.counter import SETTLE, Counter
from serinus.predictions.counts.ledger import Ledger, Recovered
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database, unavailable
from serinus.predictions.intake.commit import GroupCommit
from serinus.predictions.intake.listener import Intake, RemoteDoor
from serinus.predictions.intake.reply_log import ReplyLog
from serinus.predictions.intake.router_log import TURN_OVER_BYTES, RouterLog
from serinus.predictions.paths import counts_path, local_replies_path, segments_path, table_path
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.files import SegmentWriter, numbers, read_frames, repair, size_from
from serinus.predictions.segments.marks import RouterOffset
from serinus.predictions.segments.parsed import Parsed
from serinus.predictions.segments.sources import ROUTER, writer_of
from serinus.predictions.status import STOPPED, status_path, write_status
from serinus.predictions.table.places import Place, place_at
from serinus.predictions.table.roller import Roller, RollerError, Schedule
from serinus.predictions.table.taken import last_segment
from serinus.predictions.writer import ensured_writer

log = logging.getLogger(__name__)

_END_SECONDS = 3.0
_IDLE_SECONDS = 3600.0
_TABLE = "table"
_PASSING = (OSError, SQLAlchemyError, RollerError)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the collector."""

    envoy_admin: str | None = None
    table: str | None = None
    """The address of the table: `s3://bucket/prefix` or a directory. None: it is in the home."""
    database: str | None = None
    """The URL of a PostgreSQL database for the counts. None: they are in the home."""
    roll_seconds: float = 30.0
    """The age at which a segment is rolled up."""
    roll_bytes: int = 16 * 1024 * 1024
    """The size at which a segment is rolled up earlier. Readers parse what is not rolled up, and a roll-up holds it in
    memory."""
    most_waiting_bytes: int = 4 * 1024**3
    """The size of all segments at which records are no longer accepted. Segments wait on the disk while the table
    cannot be written."""
    turn_over_bytes: int = TURN_OVER_BYTES
    """The size at which Envoy's file of local replies is rotated."""
    drain_seconds: float = 8.0
    """The longest wait, at the end, for workers that are still writing."""
    schedule: Schedule = field(default_factory=Schedule)
    settle_seconds: float = SETTLE
    """The delay before durable records are counted. It must exceed the time by which a router's reply to a request may
    arrive after the worker's record of it."""

    def place(self, home: Home) -> Place:
        """Returns where the table is."""
        return place_at(self.table or str(table_path(home)))


class Collector:
    """Runs all loops until `stop`. The directories of the home must exist. `lock` is the descriptor that locks the
    home. Without `remote` only records of this machine are accepted.

    Raises what `opened` raises where only the table knows which segments it holds, and does not say.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        lock: int,
        now: Callable[[], float] = time.time,
        remote: RemoteDoor | None = None,
    ) -> None:
        self._home, self._settings, self._now = home, settings, now
        self._segments = segments_path(home)
        self._segments.mkdir(mode=0o700, exist_ok=True)
        repair(self._segments)
        counts = Database(settings.database or counts_path(home), schema.metadata)
        self._ledger, store = Ledger(counts, writer=ensured_writer(home)), CountStore(counts)
        self._ledger.claim()
        recovered = _recover(self._segments, self._ledger)
        place = settings.place(home)
        counted = recovered.position.segment
        last = max([*numbers(self._segments), counted, _taken(home, place, counted)])
        writer = SegmentWriter(self._segments, last + 1, settings.roll_bytes, settings.most_waiting_bytes)
        self._commit = GroupCommit(writer, recovered.seqs, now)
        secret, parsed = home.secret.read_text(), Parsed()
        self._intake = Intake(home.log_socket, secret, self._commit, parsed, time.monotonic, remote)
        replies = local_replies_path(home)
        self._replies = ReplyLog(self._commit)
        self._router = RouterLog(
            replies, recovered.router, self._replies, settings.envoy_admin, settings.turn_over_bytes
        )
        aside = Aside(Disturbances(home.disturbances))
        self._counter = Counter(self._segments, self._ledger, store, parsed, now, aside)
        self._roller = Roller(home, settings.schedule, lock, place.uri, settings.database)
        self._rolled_at = self._asked_at = now()
        self._stopping = asyncio.Event()
        self._state = "starting"
        self._troubles: dict[str, str] = {}
        self._full_sets: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Raises what a loop could not handle."""
        await self._intake.open()
        self._say("running")
        writing = asyncio.create_task(self._commit.run())
        steps = ((0.2, self._follow_router), (0.5, self._count), (1.0, self._roll), (2.0, self._report))
        loops = [asyncio.create_task(self._every(seconds, step)) for seconds, step in steps]
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopping, writing, *loops], return_when=asyncio.FIRST_COMPLETED)
        if stopping not in done:
            done.pop().result()  # raises
        self._say("draining")
        await self._drain()
        self._stopping.set()
        await asyncio.wait(loops, timeout=_END_SECONDS)
        await self._finish()
        writing.cancel()

    # --- the loops' steps

    async def _follow_router(self) -> None:
        async def follow() -> None:
            while await self._router.step():
                pass

        await self._try("router", follow())

    async def _count(self) -> None:
        async def count() -> None:
            while await asyncio.to_thread(self._counter.step, self._commit.durable, self._settings.settle_seconds):
                pass

        await self._try("counts", count())

    async def _roll(self) -> None:
        if self._now() - self._rolled_at >= self._settings.roll_seconds and not self._commit.trouble:
            await self._commit.seal()
            self._rolled_at = self._now()
        await self._try(_TABLE, self._roll_sealed())

    async def _roll_sealed(self) -> None:
        writing, now = self._commit.durable.segment, self._now()
        # An idle collector starts the process of the roll-up only from time to time, for the retention.
        if min(numbers(self._segments), default=writing) < writing or now - self._asked_at >= _IDLE_SECONDS:
            self._asked_at = now
            if await self._roller.step(self._counter.position, writing):
                self._counter.forget()

    async def _report(self) -> None:
        async def look() -> None:
            self._full_sets = await asyncio.to_thread(self._ledger.saturated)
            await asyncio.to_thread(self._ledger.report, self._status())

        await self._try("counts database", look())
        self._say()

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Calls `step` again and again. It ends between two steps, so that no thread is left at work."""
        while not self._stopping.is_set():
            await step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _try(self, what: str, work: Awaitable[None]) -> None:
        try:
            await work
        except _PASSING as error:
            if what not in self._troubles:
                log.exception("%s: failed; trying again", what)
            self._troubles[what] = f"{what}: {_words(error)}"
        else:
            self._troubles.pop(what, None)

    # --- the end

    async def _drain(self) -> None:
        """Waits until every worker has closed its connection or been silent for a second, and all records are
        durable."""
        until = time.monotonic() + self._settings.drain_seconds
        while time.monotonic() < until:
            quiet = not self._intake.connections or time.monotonic() - self._intake.heard_at > 1
            if quiet and not self._commit.pending_bytes:
                return
            await asyncio.sleep(0.05)
        log.warning("workers were still writing after %g s", self._settings.drain_seconds)

    async def _finish(self) -> None:
        await self._intake.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._follow_router()
                await self._commit.flush()
                await self._commit.seal()
        except TimeoutError:
            log.error("stopped with %d bytes that were not acknowledged", self._commit.pending_bytes)
        await self._try("counts", asyncio.to_thread(self._count_all))
        # What is not rolled up by then is durable in its segment.
        await self._try(_TABLE, asyncio.wait_for(self._roll_sealed(), self._settings.drain_seconds))
        await self._roller.close(_END_SECONDS)
        self._say(STOPPED)
        await self._try("counts database", asyncio.to_thread(self._ledger.report, self._status()))

    def _count_all(self) -> None:
        while self._counter.step(self._commit.durable, settle=0):
            pass

    # --- the status

    def _say(self, state: str | None = None) -> None:
        self._state = state or self._state
        try:
            write_status(self._home, self._status())
        except OSError as error:
            log.warning("the status cannot be written: %s", error.strerror)

    def _status(self) -> dict[str, Any]:
        return {
            "at": self._now(),
            "state": self._state,
            "warnings": self._warnings(),
            "workers": self._intake.connections,
            "received": self._intake.received,
            "local_replies": self._replies.received,
            "counted": self._counter.records,
            "unacknowledged_bytes": self._commit.pending_bytes,
            "segments": len(numbers(self._segments)),
            "segments_bytes": size_from(self._segments, 0),
            "refused_connections": self._intake.refused,
        }

    def _warnings(self) -> list[str]:
        found = [text for text in (self._commit.trouble, self._router.trouble, *self._troubles.values()) if text]
        if _TABLE in self._troubles:
            found.append(self._backlog())
        found += [f"{release} dropped {count} records" for release, count in self._intake.dropped.items()]
        lost = self._intake.refused_batches
        found += [f"{release}: {count} batches were malformed and are lost" for release, count in lost.items()]
        found += [
            f"{name}: there are too many entities, so further events are counted without their entity"
            for name in self._full_sets
        ]
        if malformed := self._router.malformed + self._replies.malformed + self._intake.malformed_replies:
            found.append(f"{malformed} lines of Envoy's local replies are malformed")
        return found

    def _backlog(self) -> str:
        """Says what waits for the table, and how much may."""
        waiting, most = size_from(self._segments, 0), self._settings.most_waiting_bytes
        share = f"{waiting / 2**20:,.1f} of at most {most / 2**20:,.0f} MiB"
        return f"{share} wait on the collector's disk until the table can be written"


def _words(error: Exception) -> str:
    if isinstance(error, OperationalError):
        return str(unavailable(error))
    return str(error) if isinstance(error, RollerError) else type(error).__name__


def _taken(home: Home, place: Place, counted: int) -> int:
    """Returns the number of the last segment of this disk that the table holds. It must never be used again, because
    the table would skip its records.

    Where the table does not answer, 0 is enough if a collector has counted and written its status on this disk: that
    one has asked the table, and since then a segment was counted here before the table took it. A home that is new or
    restored from a backup has no status, and must wait.
    """
    try:
        return last_segment(place, ensured_writer(home))
    except SerinusError as error:
        if not (counted and status_path(home).exists()):
            raise
        log.warning("the table does not say which segments it holds: %s", error)
        return 0


def _recover(directory: Path, ledger: Ledger) -> Recovered:
    """Returns the state by the ledger and by the segments after it."""
    known = ledger.recovered()
    seqs, router = dict(known.seqs), known.router
    for frame in read_frames(directory, known.position):
        if frame.meta["source"] == ROUTER:
            router = RouterOffset(frame.meta["inode"], frame.meta["offset"])
        else:
            seqs[writer_of(frame.meta)] = frame.meta["seq"]
    return Recovered(known.position, router, seqs)
