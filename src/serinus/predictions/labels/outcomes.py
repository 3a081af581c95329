"""The store of outcomes: the latest label of each request, also of requests that are not in the log yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import polars as pl
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    inspect,
    literal,
    or_,
    select,
    update,
)

from serinus.core.predictions import Label
from serinus.predictions.database import Database

KEY = ("prediction_id", "request_id", "caller", "release")
"""The columns by which a label names its request. Empty: not given."""

metadata = MetaData()

labels = Table(
    "labels",
    metadata,
    *(Column(name, String, primary_key=True, index=name == "request_id") for name in KEY),
    Column("label", Float, nullable=False),
    Column("observed_at", BigInteger, nullable=False),  # unix time in microseconds
    Column("source", String, nullable=False),
)
writes = Table(  # one row, so that readers notice new outcomes
    "outcome_writes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
)
_before = Table(  # The table of earlier versions, which only had the caller's id.
    "outcomes",
    MetaData(),
    Column("request_id", String, primary_key=True),
    Column("label", Float, nullable=False),
    Column("observed_at", BigInteger, nullable=False),
    Column("source", String, nullable=False),
)

SCHEMA = {
    **{name: pl.String() for name in KEY},
    "label": pl.Float64(),
    "observed_at": pl.Datetime("us", "UTC"),
    "source": pl.String(),
}

_CHUNK = 200
_MANY = 50_000
_CACHE_KIB = 64 * 1024
"""The size of the page cache while many rows are written, whose keys are scattered over the indexes."""

_COLUMNS = [column.name for column in labels.columns]
_UPSERT = f"""
    INSERT INTO labels ({", ".join(_COLUMNS)}) VALUES ({{values}})
    ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET
        label = excluded.label, observed_at = excluded.observed_at, source = excluded.source
    WHERE excluded.observed_at >= labels.observed_at AND (excluded.label, excluded.observed_at, excluded.source)
        {{differs}} (labels.label, labels.observed_at, labels.source)
"""  # noqa: S608  names of columns
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Key = tuple[str, ...]
_Values = tuple[float, int, str]


class OutcomeStore:
    """Stores outcomes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.write() as connection:
            _take_over(connection)

    def add(self, labels: Iterable[Label]) -> int:
        """Stores outcomes durably. Returns how many were new or corrected an earlier one.

        An outcome that was observed before the stored one changes nothing. Of two that were observed at the same time,
        the one that arrives last holds.
        """
        changed, rest = 0, iter(labels)
        while chunk := list(islice(rest, _CHUNK)):
            with self._database.write() as connection:
                changed += _add(connection, chunk)
                _count_write(connection)
        return changed

    def add_many(self, outcomes: pl.DataFrame) -> int:
        """Stores a frame with the columns of `SCHEMA` and unique keys. Returns the same as `add`. Other writers may
        interleave."""
        changed = 0
        columns = outcomes.with_columns(pl.col("observed_at").cast(pl.Int64())).select(_COLUMNS)
        for part in columns.iter_slices(_MANY):
            with self._database.write() as connection:
                changed += _upsert(connection, part.rows())
                _count_write(connection)
        return changed

    def mark(self) -> str:
        """Returns a text that changes with every write. Empty: there are no labels."""
        with self._database.read() as connection:
            if connection.execute(select(labels.c.label).limit(1)).first() is None:
                return ""
            return str(connection.scalar(select(writes.c.count)) or 0)

    def frame(self) -> pl.DataFrame:
        """Returns prediction_id, request_id, caller, release, label, observed_at and source."""
        raw = {**SCHEMA, "observed_at": pl.Int64()}
        with self._database.read() as connection:
            # It is read in parts, because a million rows of Python objects would take half a gigabyte.
            rows = connection.exec_driver_sql(f"SELECT {', '.join(_COLUMNS)} FROM labels").cursor  # noqa: S608
            assert rows is not None
            frames = [pl.DataFrame(part, schema=raw, orient="row") for part in iter(lambda: rows.fetchmany(_MANY), [])]
        return pl.concat([pl.DataFrame(schema=raw), *frames]).cast({"observed_at": SCHEMA["observed_at"]})


def _upsert(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    """Returns how many rows are new or changed."""
    if connection.dialect.name != "sqlite":
        statement = _UPSERT.format(values=", ".join(["%s"] * len(_COLUMNS)), differs="IS DISTINCT FROM")
        return connection.exec_driver_sql(statement, list(rows)).rowcount
    connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KIB}")
    statement = _UPSERT.format(values=", ".join("?" * len(_COLUMNS)), differs="IS NOT")
    changed = connection.exec_driver_sql(statement, list(rows)).rowcount
    connection.exec_driver_sql("PRAGMA cache_size=-2000")
    return changed


def _count_write(connection: Connection) -> None:
    if not connection.execute(update(writes).values(count=writes.c.count + 1)).rowcount:
        connection.execute(insert(writes).values(id=1, count=1))


def _take_over(connection: Connection) -> None:
    """Migrates the outcomes that an earlier version has stored."""
    if not inspect(connection).has_table(_before.name):
        return
    at = _before.c
    kept = select(literal(""), at.request_id, literal(""), literal(""), at.label, at.observed_at, at.source)
    connection.execute(insert(labels).from_select([column.name for column in labels.columns], kept))
    _before.drop(connection)


def _add(connection: Connection, sent: Sequence[Label]) -> int:
    keys = {_key(label) for label in sent}
    ids = {name: {key[KEY.index(name)] for key in keys} - {""} for name in ("prediction_id", "request_id")}
    named = or_(*(labels.c[name].in_(some) for name, some in ids.items() if some))
    rows = connection.execute(select(labels).where(named))
    known: dict[_Key, _Values] = {tuple(row[:4]): tuple(row[4:]) for row in rows if tuple(row[:4]) in keys}
    before, changed = dict(known), 0
    for label in sent:
        new = (label.label, (label.observed_at - _EPOCH) // timedelta(microseconds=1), label.source)
        held = known.get(_key(label))
        if held is None or (new[1] >= held[1] and new != held):
            known[_key(label)] = new
            changed += 1
    _write(connection, {one: known[one] for one in known if one not in before}, insert(labels))
    same = [labels.c[name] == bindparam(f"of_{name}") for name in KEY]
    _write(connection, {one: known[one] for one in before if known[one] != before[one]}, update(labels).where(*same))
    return changed


def _key(label: Label) -> _Key:
    return label.prediction_id, label.request_id, label.caller, label.release


def _write(connection: Connection, rows: dict[_Key, _Values], statement: Any) -> None:
    if not rows:
        return
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("label", "observed_at", "source")}
    if statement.is_insert:
        values.update({name: bindparam(f"of_{name}") for name in KEY})
    parameters = [
        {f"of_{name}": part for name, part in zip(KEY, key, strict=True)}
        | {"new_label": label, "new_observed_at": at, "new_source": source}
        for key, (label, at, source) in rows.items()
    ]
    connection.execute(statement.values(**values), parameters)
