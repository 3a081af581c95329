"""Transactions on the store's database: one context manager to read, one to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, insert, inspect, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from serinus.backends.sql import sqlite
from serinus.backends.sql.tables import SCHEMA, UPGRADES, audit_head, metadata, schema_version
from serinus.core.errors import Refused, SerinusError, Unavailable


class Database:
    """Safe to use from many threads. A failure of the database becomes `Unavailable`, with the reason in words."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._place = parsed.database or parsed.render_as_string(hide_password=True)
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = create_engine(parsed)
        if self._is_sqlite:
            sqlite.prepare(self._engine)
        self._writing_engine = self._engine.execution_options(**{sqlite.WRITES: True})
        with self.write() as connection:
            self._bring_schema(connection)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All of the block or nothing; one at a time on SQLite. Durable when the block is left."""
        with self._explained(), self._writing_engine.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:  # against a rule of the schema: the caller knows which
            raise
        except DBAPIError as error:
            raise self._explain(error) from error

    def _explain(self, error: DBAPIError) -> SerinusError:
        if self._is_sqlite:
            return sqlite.explain(error, self._place)
        return Unavailable(f"The database {self._place} does not answer ({type(error.orig).__name__}).")

    def _bring_schema(self, connection: Connection) -> None:
        if inspect(connection).has_table(schema_version.name):
            found = connection.execute(select(schema_version.c.version)).scalar_one()
            while found in UPGRADES:
                for statement in UPGRADES[found]:
                    connection.exec_driver_sql(statement)
                found += 1
                connection.execute(update(schema_version).values(version=found))
            if found != SCHEMA:
                raise Refused(
                    f"{self._place} was written by another version of Serinus: it has schema {found}, "
                    f"this version reads schema {SCHEMA}.",
                    hint="Use the version of Serinus that made this home, or start with another --home.",
                )
            return
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=SCHEMA))
        connection.execute(insert(audit_head).values(id=1, entries=0, digest=""))
        if self._is_sqlite:
            sqlite.protect_audit(connection)
