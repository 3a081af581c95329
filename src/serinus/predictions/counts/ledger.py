"""The collector's side of counts.db: counts and how far the log was counted, in one transaction.

So a kill at any moment counts nothing twice and forgets nothing: what the position does not cover is counted again
from the segments, which are removed only after they were counted and rolled up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from serinus.core.evidence import WINDOW_SECONDS
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import EVENTS, LIVE, CountKey, HourKey, Tally
from serinus.predictions.counts.entities import MOST_ENTITIES, EntitySets
from serinus.predictions.counts.streaks import Streak
from serinus.predictions.database import Database
from serinus.predictions.segments.columns import Columns
from serinus.predictions.segments.files import Position

HOURS_KEPT = 35 * 24
MINUTES = 3600 // WINDOW_SECONDS
"""Windows of an hour."""
_WINDOW = "window."
_HOURS, _TOTALS_ARE_RIGHT = "hours", 1
"""In `progress`: the version of the table of hours."""
_SAME_REQUEST = 0.02
"""Seconds by which the router's and the worker's word on a request's start may differ."""


class RouterOffset(NamedTuple):
    """How far Envoy's file of local replies is in the log."""

    inode: int
    offset: int


class RouterReply(NamedTuple):
    """A request that the router answered although its release may still do so."""

    request_id: str
    """Serinus' own where there is one, else the caller's."""
    release: str
    start: float


class RouterReplies:
    """Tells which of a release's records come too late: the caller has had the router's answer.

    Joined by the request's own id, which no caller can repeat. Requests of earlier versions have none: they are joined
    by the caller's id, release and start, because callers may use an id twice.
    """

    def __init__(self, replies: Sequence[RouterReply] = ()) -> None:
        self._starts: dict[tuple[str, str], list[float]] = {}
        for reply in replies:
            self.add(reply)

    def add(self, reply: RouterReply) -> None:
        self._starts.setdefault((reply.request_id, reply.release), []).append(reply.start)

    def overtook(self, records: Columns) -> list[bool]:
        """For each record."""
        late = [False] * len(records)
        if self._starts:
            asked = zip(records.identity, records.release, strict=True)
            for place, key in enumerate(asked):
                if key in self._starts and not records.by_router[place]:
                    start = records.time[place] - records.ms[place] / 1000
                    late[place] = any(abs(one - start) <= _SAME_REQUEST for one in self._starts[key])
        return late


@dataclass(slots=True)
class Advance:
    """How much further the log was read, and what must be remembered of it."""

    position: Position
    at: float
    """Unix seconds."""
    router: RouterOffset | None = None
    seqs: dict[tuple[str, str], int] = field(default_factory=dict)
    """(release, boot) -> the last batch."""
    replies: list[RouterReply] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recovered:
    position: Position
    router: RouterOffset | None
    seqs: Mapping[tuple[str, str], int]


class Ledger:
    def __init__(self, database: Database, most_entities: int = MOST_ENTITIES) -> None:
        self._database = database
        self._entities = EntitySets(most_entities)
        self._minute: dict[CountKey, tuple[int, int]] = {}
        """Of followed releases: the minute of the last event, and its events. Lost with the process, as one minute
        says little of an hour."""
        with database.write() as connection:
            _mend_hours(connection)

    def recovered(self) -> Recovered:
        with self._database.read() as connection:
            marks = {row.name: (row.one, row.two) for row in connection.execute(select(db.progress))}
            seqs = {(row.release, row.boot): row.seq for row in connection.execute(select(db.writers))}
        router = RouterOffset(*marks["router"]) if "router" in marks else None
        return Recovered(Position(*marks.get("counted", (0, 0))), router, seqs)

    def replies(self) -> list[RouterReply]:
        with self._database.read() as connection:
            return [RouterReply(*row) for row in connection.execute(select(db.router_replies))]

    def commit(self, tally: Tally, advance: Advance) -> None:
        """All of it or nothing."""
        with self._database.write() as connection:
            firsts, remembered = self._entities.firsts(connection, tally, advance.at)
            counts = tally.counts + firsts
            _add(connection, db.counts, counts)
            hours, minute = _of_the_hour(counts, tally.window, self._minute)
            _add(connection, db.hours, hours)
            _add(connection, db.minutes, tally.minutes)
            _add(connection, db.totals, tally.totals)
            for (model, release), streak in tally.streaks.items():
                _follow(connection, model, release, streak)
            _put(connection, db.progress, {"name": "counted"}, _mark(advance.position))
            if advance.router:
                _put(connection, db.progress, {"name": "router"}, _mark(advance.router))
            for (release, boot), seq in advance.seqs.items():
                _put(connection, db.writers, {"release": release, "boot": boot}, {"seq": seq, "at": advance.at})
            for reply in advance.replies:
                _put(connection, db.router_replies, reply._asdict(), {})
        self._minute.update(minute)
        self._entities.remember(remembered, tally)

    def saturated(self) -> list[str]:
        """`scope kind` of the sets that remember as many entities as they may."""
        with self._database.read() as connection:
            return self._entities.saturated(connection)

    def prune(self, now: float, oldest_pending: float) -> None:
        """Forgets what no longer matters: minutes after two hours; hours after five weeks; writers that were silent
        and entities of scopes that were quiet for a week; router replies from ten minutes before what still waits to
        be rolled up."""
        week = now - 7 * 86_400
        quiet = select(db.entity_sets.c.id).where(db.entity_sets.c.used_at < week)
        with self._database.write() as connection:
            connection.execute(delete(db.minutes).where(db.minutes.c.minute < now // 60 - 120))
            connection.execute(delete(db.hours).where(db.hours.c.hour < now // 3600 - HOURS_KEPT))
            connection.execute(delete(db.writers).where(db.writers.c.at < week))
            connection.execute(delete(db.router_replies).where(db.router_replies.c.start < oldest_pending - 600))
            connection.execute(delete(db.entities).where(db.entities.c.set_id.in_(quiet)))


def _mend_hours(connection: Connection) -> None:
    """Earlier versions added the squares of a minute's events to the events of the hour as well. How many there were is
    gone; the first ones of each entity in a minute are the nearest that is known, and never more."""
    version = connection.execute(select(db.progress.c.one).where(db.progress.c.name == _HOURS)).scalar()
    if version == _TOTALS_ARE_RIGHT:
        return
    first = db.hours.alias()
    same = (first.c.hour == db.hours.c.hour) & (first.c.release == db.hours.c.release)
    known = select(first.c.value).where(same, first.c.name == _WINDOW + db.hours.c.name).scalar_subquery()
    wrong = update(db.hours).where(db.hours.c.name.in_(EVENTS))
    connection.execute(wrong.values(value=func.coalesce(known, 0)))
    _put(connection, db.progress, {"name": _HOURS}, _mark((_TOTALS_ARE_RIGHT, 0)))


def _of_the_hour(
    counts: Mapping[CountKey, int], minute: int, before: Mapping[CountKey, tuple[int, int]]
) -> tuple[Mapping[HourKey, int], Mapping[CountKey, tuple[int, int]]]:
    """What is counted of followed releases, with the squares of the minutes that are over; and `before`, the minute of
    the last event with its events, as it is afterwards."""
    found: Counter[HourKey] = Counter()
    after = {}
    for key, value in counts.items():
        split, release, name = key
        if not split.startswith(LIVE) or not value:
            continue
        found[minute // MINUTES, release, name] += value
        kind = name.removeprefix(_WINDOW)
        if name != kind and kind in EVENTS:
            last, events = before.get(key, (minute, 0))
            if last != minute:
                found[last // MINUTES, release, f"square.{kind}"] += events * events
                events = 0
            after[key] = minute, events + value
    return found, after


def _mark(pair: tuple[int, int]) -> dict[str, int]:
    return {"one": pair[0], "two": pair[1]}


def _put(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Inserts the row or updates it."""
    where = [table.c[name] == value for name, value in key.items()]
    if connection.execute(select(*table.primary_key.columns).where(*where)).one_or_none() is None:
        connection.execute(insert(table).values({**key, **values}))
    elif values:
        connection.execute(update(table).where(*where).values(values))


def _follow(connection: Connection, model: str, release: str, streak: Streak) -> None:
    key = {"model": model, "release": release}
    at = db.streaks.c
    before = connection.execute(
        select(at.failing, at.answered_at, at.failed_at).where(at.model == model, at.release == release)
    ).one_or_none()
    together = (Streak(*before) if before else Streak()).followed_by(streak)
    _put(connection, db.streaks, key, together._asdict())


def _add(connection: Connection, table: Table, deltas: Mapping[tuple[Any, ...], int]) -> None:
    """Adds to `value` under each primary key; one statement for the new ones, one for the others."""
    if not deltas:
        return
    columns = list(table.primary_key.columns)
    known = select(*columns).where(columns[0].in_({key[0] for key in deltas}))
    there = {tuple(row) for row in connection.execute(known)}
    rows = [
        (key, {f"key_{column.name}": part for column, part in zip(columns, key, strict=True)} | {"delta": delta})
        for key, delta in deltas.items()
    ]
    new = [row for key, row in rows if key not in there]
    old = [row for key, row in rows if key in there]
    parts: dict[str, Any] = {column.name: bindparam(f"key_{column.name}") for column in columns}
    if new:
        connection.execute(insert(table).values(**parts, value=bindparam("delta")), new)
    if old:
        same = [table.c[name] == part for name, part in parts.items()]
        connection.execute(update(table).where(*same).values(value=table.c.value + bindparam("delta")), old)
