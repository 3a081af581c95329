"""Labels, one a request: the one that was observed last. Kept also where no prediction is known, which may be late."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, Column, Connection, Float, MetaData, String, Table, bindparam, insert, select, update

from serinus.backends.delta.database import Database
from serinus.core.values import Label

metadata = MetaData()

outcomes = Table(
    "outcomes",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("label", Float, nullable=False),
    Column("observed_at", BigInteger, nullable=False),  # unix time in microseconds
    Column("source", String, nullable=False),
)

SCHEMA = {
    "request_id": pl.String(),
    "label": pl.Float64(),
    "observed_at": pl.Datetime("us", "UTC"),
    "source": pl.String(),
}

_CHUNK = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OutcomeStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, labels: Iterable[Label]) -> int:
        """Durable on return; how many were new or corrected an earlier one.

        An outcome observed before the one that is known changes nothing; of two observed at the same time, the one
        that arrives last holds.
        """
        changed, rest = 0, iter(labels)
        while chunk := list(islice(rest, _CHUNK)):
            with self._database.write() as connection:
                changed += _add(connection, chunk)
        return changed

    def frame(self) -> pl.DataFrame:
        """request_id, label, observed_at, source."""
        with self._database.read() as connection:
            rows = [tuple(row) for row in connection.execute(select(outcomes))]
        raw = {**SCHEMA, "observed_at": pl.Int64()}
        return pl.DataFrame(rows, schema=raw, orient="row").cast({"observed_at": SCHEMA["observed_at"]})


def _add(connection: Connection, labels: Sequence[Label]) -> int:
    ids = {label.request_id for label in labels}
    rows = connection.execute(select(outcomes).where(outcomes.c.request_id.in_(ids)))
    known = {row.request_id: (row.label, row.observed_at, row.source) for row in rows}
    before, changed = dict(known), 0
    for label in labels:
        new = (label.label, (label.observed_at - _EPOCH) // timedelta(microseconds=1), label.source)
        held = known.get(label.request_id)
        if held is None or (new[1] >= held[1] and new != held):
            known[label.request_id] = new
            changed += 1
    _write(connection, {one: known[one] for one in known if one not in before}, insert(outcomes))
    corrected = {one: known[one] for one in before if known[one] != before[one]}
    _write(connection, corrected, update(outcomes).where(outcomes.c.request_id == bindparam("key")))
    return changed


def _write(connection: Connection, rows: dict[str, tuple[float, int, str]], statement: Any) -> None:
    if not rows:
        return
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("label", "observed_at", "source")}
    if statement.is_insert:
        values["request_id"] = bindparam("key")
    parameters = [
        {"key": one, "new_label": label, "new_observed_at": at, "new_source": source}
        for one, (label, at, source) in rows.items()
    ]
    connection.execute(statement.values(**values), parameters)
