"""Transactions on the store's database: one context manager to read, one to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from serinus.backends.sql import schema, sqlite
from serinus.core.errors import SerinusError, Unavailable


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
            if schema.bring_up(connection, self._place) and self._is_sqlite:
                sqlite.protect_audit(connection)

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
