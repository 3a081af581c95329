"""Copies a store into an empty one, from SQLite to PostgreSQL or back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select

from serinus.backends.sql import schema
from serinus.backends.sql.database import Database
from serinus.backends.sql.tables import alembic_version, audit_head, leadership, metadata, schema_version
from serinus.core.errors import Refused

_ROWS = 100
"""The number of rows that are read at once. Documents can be large."""
_MADE = (audit_head, leadership)
"""Tables in which a new store has a row."""
_COPIED = [table for table in metadata.sorted_tables if table not in (schema_version, alembic_version)]
"""In an order in which no row refers to a later one. The others are the same in stores of one schema."""


def copy_store(source: str, destination: str) -> Mapping[str, int]:
    """Copies the store with the URL `source` into the empty one with the URL `destination`, whose tables are created
    where there are none. Returns the number of rows by table.

    It is one transaction, which is committed after everything was read back and compared. Raises Refused where one of
    them is used by a control plane or is of another schema, where the destination is not empty, and where it does not
    hold what was copied; and Unavailable. The destination is then empty, or as it was.
    """
    with (
        closing(Database(source, schema.require)) as before,
        closing(Database(destination, schema.create_or_require)) as after,
    ):
        before.use_alone()
        after.use_alone()
        with before.read() as reading, after.write() as writing:
            _require_empty(writing, after.place)
            return {table.name: _copy(table, (before, reading), (after, writing)) for table in _COPIED}


def _require_empty(connection: Connection, place: str) -> None:
    for table in _COPIED:
        if table not in _MADE and connection.execute(select(table).limit(1)).first() is not None:
            raise Refused(
                f"{place} is not empty, and nothing is copied over a store: its table {table.name} has rows.",
                hint="Name an empty database, or move the files of the store out of the home first.",
            )


_Opened = tuple[Database, Connection]


def _copy(table: Table, source: _Opened, destination: _Opened) -> int:
    after, writing = destination
    if table in _MADE:
        writing.execute(delete(table))
    read, found = _Content(), _Content()
    for rows in _parts(table, source):
        read.add(rows)
        writing.execute(insert(table), [dict(row._mapping) for row in rows])
    for rows in _parts(table, destination):
        found.add(rows)
    if read != found:
        raise Refused(
            f"{after.place} does not hold what was copied into it: {read.rows} {table.name} were read, and "
            f"{found.rows} are there{'' if read.rows != found.rows else ', with other content'}.",
            hint="Nothing was kept. Look for triggers and rules in the database that change rows.",
        )
    after.number_on(writing, table)
    return read.rows


def _parts(table: Table, opened: _Opened) -> Iterator[Sequence[Row[Any]]]:
    database, connection = opened
    with database.explained():  # The transaction of the other one is around it, and would take the error for its own.
        yield from connection.execute(select(table), execution_options={"yield_per": _ROWS}).partitions()


@dataclass(slots=True)
class _Content:
    """Equal for the same rows in any order, because databases sort text differently."""

    rows: int = 0
    digests: int = 0
    """The sum of the digests of the rows."""

    def add(self, rows: Sequence[Row[Any]]) -> None:
        self.rows += len(rows)
        self.digests += sum(int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest()) for row in rows)
