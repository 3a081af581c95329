"""The collector's side of counts.db. The counts and the position in the log are written in one transaction.

A kill at any moment therefore counts nothing twice and loses nothing. What is after the position is counted again from
the segments, which are removed only after they were counted and rolled up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Insert, Select, Table, Update, bindparam, delete, func, insert, select, update

from serinus.core.errors import Refused
from serinus.core.evidence import WINDOW_SECONDS
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import EVENTS, LIVE, CountKey, HourKey, Tally
from serinus.predictions.counts.entities import MOST_ENTITIES, EntitySets
from serinus.predictions.counts.streaks import Streak
from serinus.predictions.database import Database
from serinus.predictions.segments.columns import Columns
from serinus.predictions.segments.files import Position
from serinus.predictions.segments.marks import RouterOffset
from serinus.predictions.status import STALE_SECONDS, STOPPED

HOURS_KEPT = 35 * 24
MINUTES = 3600 // WINDOW_SECONDS
"""The number of windows in an hour."""
_WINDOW = "window."
_HOURS, _TOTALS_ARE_RIGHT = "hours", 1
"""The entry in `progress` with the version of the table of hours."""
_SAME_REQUEST = 0.02
"""Seconds by which the router and the worker may disagree about the start of a request."""


class RouterReply(NamedTuple):
    """A request that the router has answered although its release may still answer it."""

    request_id: str
    """Serinus' own id, or the caller's where there is none."""
    release: str
    start: float


class RouterReplies:
    """Detects records of releases that came too late, because the caller had the router's answer already.

    They are joined by the release and the request's own id, which callers cannot choose. The times are not compared,
    because the clocks of a remote router and a remote worker may differ. Requests of earlier versions have no id of
    their own. They are joined by the caller's id, the release and the start, because callers may repeat an id.
    """

    def __init__(self, replies: Sequence[RouterReply] = ()) -> None:
        self._starts: dict[tuple[str, str], list[float]] = {}
        for reply in replies:
            self.add(reply)

    def add(self, reply: RouterReply) -> None:
        """Adds a reply."""
        self._starts.setdefault((reply.request_id, reply.release), []).append(reply.start)

    def overtook(self, records: Columns) -> list[bool]:
        """Returns for each record whether it came too late."""
        late = [False] * len(records)
        if self._starts:
            asked = zip(records.identity, records.release, strict=True)
            for place, key in enumerate(asked):
                if key not in self._starts or records.by_router[place]:
                    continue
                if records.prediction_id[place]:
                    late[place] = True
                else:
                    start = records.time[place] - records.ms[place] / 1000
                    late[place] = any(abs(one - start) <= _SAME_REQUEST for one in self._starts[key])
        return late


@dataclass(slots=True)
class Advance:
    """The progress of a reading, and what must be stored with it."""

    position: Position
    at: float
    """Unix seconds."""
    router: RouterOffset | None = None
    seqs: dict[tuple[str, str], int] = field(default_factory=dict)
    """The last batch by (release, boot)."""
    replies: list[RouterReply] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state after a restart."""

    position: Position
    router: RouterOffset | None
    seqs: Mapping[tuple[str, str], int]


class Ledger:
    """Writes counts and position, for the collector of the disk with the name `writer`.

    A database has one collector at a time. The one that has called `claim` last is it. For any other one, `commit` and
    `report` raise Refused.
    """

    def __init__(self, database: Database, most_entities: int = MOST_ENTITIES, writer: str = "") -> None:
        self._database, self._writer = database, writer
        self._entities = EntitySets(most_entities)
        self._minute: dict[CountKey, tuple[int, int]] = {}
        """The minute of the last event of each followed release, and its events. It is lost with the process, since one
        minute contributes little to an hour."""
        with database.write() as connection:
            _mend_hours(connection)

    def claim(self) -> None:
        """Makes this collector the one of the database. Raises Refused while another one reports that it runs."""
        at = db.NOW if self._database.shared else 0.0
        with self._database.write() as connection:
            row = connection.execute(select(db.collector)).one_or_none()
            if row is None:
                connection.execute(insert(db.collector).values(id=1, writer=self._writer, report="", at=at))
                return
            if row.writer != self._writer and self._database.shared:
                age = connection.scalar(select(db.NOW)) - row.at
                ended = row.report and json.loads(row.report).get("state") == STOPPED
                if age <= STALE_SECONDS and not ended:
                    raise Refused(
                        f"Another collector counts into this database. It reported {age:.0f} s ago.",
                        hint=f"End it, or wait: {STALE_SECONDS:.0f} s after its last report this one takes over.",
                    )
            connection.execute(update(db.collector).values(writer=self._writer, report="", at=at))

    def report(self, report: Mapping[str, Any]) -> None:
        """Stores what readers on other machines are told of the collector. Does nothing where there are none."""
        if self._database.shared:
            with self._database.write() as connection:
                self._check(connection)
                connection.execute(update(db.collector).values(report=json.dumps(report), at=db.NOW))

    def _check(self, connection: Connection) -> None:
        owner = connection.scalar(select(db.collector.c.writer))
        if owner not in (None, self._writer):
            raise Refused("Another collector counts into this database now.", hint="One is enough: end this one.")

    def _of_this_disk(self, mark: str) -> str:
        """Returns the name of a mark in `progress`. A database that is shared has marks of every disk."""
        return f"{mark}/{self._writer}" if self._database.shared else mark

    def recovered(self) -> Recovered:
        """Returns the stored state."""
        with self._database.read() as connection:
            marks = {row.name: (row.one, row.two) for row in connection.execute(select(db.progress))}
            seqs = {(row.release, row.boot): row.seq for row in connection.execute(select(db.writers))}
        router, counted = self._of_this_disk("router"), self._of_this_disk("counted")
        offset = RouterOffset(*marks[router]) if router in marks else None
        return Recovered(Position(*marks.get(counted, (0, 0))), offset, seqs)

    def replies(self) -> list[RouterReply]:
        """Returns the stored replies of the router."""
        with self._database.read() as connection:
            return [RouterReply(*row) for row in connection.execute(select(db.router_replies))]

    def commit(self, tally: Tally, advance: Advance) -> None:
        """Writes everything in one transaction."""
        with self._database.write() as connection:
            self._check(connection)
            firsts, remembered = self._entities.firsts(connection, tally, advance.at)
            counts = tally.counts + firsts
            _add(connection, db.counts, counts)
            hours, minute = _of_the_hour(counts, tally.window, self._minute)
            _add(connection, db.hours, hours)
            _add(connection, db.minutes, tally.minutes)
            _add(connection, db.totals, tally.totals)
            for (model, release), streak in tally.streaks.items():
                _follow(connection, model, release, streak)
            _put(connection, db.progress, {"name": self._of_this_disk("counted")}, _mark(advance.position))
            if advance.router:
                _put(connection, db.progress, {"name": self._of_this_disk("router")}, _mark(advance.router))
            for (release, boot), seq in advance.seqs.items():
                _put(connection, db.writers, {"release": release, "boot": boot}, {"seq": seq, "at": advance.at})
            for reply in advance.replies:
                _put(connection, db.router_replies, reply._asdict(), {})
        self._minute.update(minute)
        self._entities.remember(remembered, tally)

    def saturated(self) -> list[str]:
        """Returns `scope kind` of each set that is full."""
        with self._database.read() as connection:
            return self._entities.saturated(connection)

    def prune(self, now: float, oldest_pending: float) -> None:
        """Deletes what is no longer needed: minutes after two hours, hours after five weeks, writers and entities
        without events for a week, and router replies that are ten minutes older than the oldest record that is not
        rolled up."""
        week = now - 7 * 86_400
        quiet = select(db.entity_sets.c.id).where(db.entity_sets.c.used_at < week)
        with self._database.write() as connection:
            connection.execute(delete(db.minutes).where(db.minutes.c.minute < now // 60 - 120))
            connection.execute(delete(db.hours).where(db.hours.c.hour < now // 3600 - HOURS_KEPT))
            connection.execute(delete(db.writers).where(db.writers.c.at < week))
            connection.execute(delete(db.router_replies).where(db.router_replies.c.start < oldest_pending - 600))
            connection.execute(delete(db.entities).where(db.entities.c.set_id.in_(quiet)))


def _mend_hours(connection: Connection) -> None:
    """Corrects hours of earlier versions, which added the squares of a minute's events to its events.

    The true number is lost. It is replaced by the first events of each entity in a minute, which is never more.
    """
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
    """Returns the counts of followed releases, with the squares of complete minutes, and the new `before`: the minute
    of the last event with its events."""
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
    """Inserts or updates the row."""
    known, change = _row_statements(table, tuple(key), tuple(values))
    bound = {f"key_{name}": value for name, value in key.items()}
    if connection.execute(known, bound).one_or_none() is None:
        connection.execute(insert(table), {**key, **values})
    elif values:
        connection.execute(change, {**bound, **values})


@cache
def _row_statements(table: Table, key: tuple[str, ...], values: tuple[str, ...]) -> tuple[Select[Any], Update]:
    """Returns what finds a row, and what sets `values` of it."""
    where = [table.c[name] == bindparam(f"key_{name}") for name in key]
    change = update(table).where(*where).values({name: bindparam(name) for name in values})
    return select(*table.primary_key.columns).where(*where), change


def _follow(connection: Connection, model: str, release: str, streak: Streak) -> None:
    key = {"model": model, "release": release}
    at = db.streaks.c
    before = connection.execute(
        select(at.failing, at.answered_at, at.failed_at).where(at.model == model, at.release == release)
    ).one_or_none()
    together = (Streak(*before) if before else Streak()).followed_by(streak)
    _put(connection, db.streaks, key, together._asdict())


def _add(connection: Connection, table: Table, deltas: Mapping[tuple[Any, ...], int]) -> None:
    """Adds to `value` under each primary key, by one statement for new keys and one for the others."""
    if not deltas:
        return
    known, new_value, added = _value_statements(table)
    there = {tuple(row) for row in connection.execute(known, {"firsts": list({key[0] for key in deltas})})}
    names = [f"key_{column.name}" for column in table.primary_key.columns]
    rows = [(key, dict(zip(names, key, strict=True)) | {"delta": delta}) for key, delta in deltas.items()]
    new = [row for key, row in rows if key not in there]
    old = [row for key, row in rows if key in there]
    if new:
        connection.execute(new_value, new)
    if old:
        connection.execute(added, old)


@cache
def _value_statements(table: Table) -> tuple[Select[Any], Insert, Update]:
    """Returns what finds the primary keys that begin with one of `firsts`, and what stores a value and adds to one.

    They are built once, because they are executed twice a second.
    """
    columns = list(table.primary_key.columns)
    parts: dict[str, Any] = {column.name: bindparam(f"key_{column.name}") for column in columns}
    same = [table.c[name] == part for name, part in parts.items()]
    return (
        select(*columns).where(columns[0].in_(bindparam("firsts", expanding=True))),
        insert(table).values(**parts, value=bindparam("delta")),
        update(table).where(*same).values(value=table.c.value + bindparam("delta")),
    )
