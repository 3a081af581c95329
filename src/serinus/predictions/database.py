"""The databases of the prediction log: SQLite files in the home, or a schema of a PostgreSQL database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, create_engine, make_url
from sqlalchemy.exc import OperationalError

from serinus.core.errors import Refused, Unavailable
from serinus.lib import postgres, sqlite

SCHEMA = "serinus_predictions"
"""The schema of the tables in a PostgreSQL database, which other programs and the store may use as well."""
_CONNECT_SECONDS = 5


class Database:
    """A database with any number of readers beside one writer. Each commit is durable. `where` is the path of a SQLite
    file or the URL of a PostgreSQL database. Raises Unavailable, and Refused where the driver is not installed."""

    def __init__(self, where: Path | str, tables: MetaData) -> None:
        self.shared = isinstance(where, str)
        """Whether processes on other machines use it as well."""
        engine = _connected(where) if isinstance(where, str) else _opened(where)
        self._reading = (
            postgres.prepare(engine, "writes", postgres.Lock.PREDICTIONS)
            if self.shared
            else sqlite.prepare(engine, "writes")
        )
        self._writing = engine.execution_options(writes=True)
        try:
            with self.write() as connection:
                if self.shared:
                    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
                tables.create_all(connection)
        except OperationalError as error:
            raise unavailable(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Opens a connection with one consistent view."""
        with self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Opens a transaction, which is committed at the end and rolled back by an exception."""
        with self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Closes all connections."""
        self._writing.dispose()


def unavailable(error: OperationalError) -> Unavailable:
    """Returns the error for people. What PostgreSQL says is left out, because it may quote values."""
    if isinstance(error.orig, sqlite3.Error):
        return Unavailable(
            f"The prediction log's database does not answer: {error.orig}.", hint="Check whether the disk is full."
        )
    if getattr(error.orig, "sqlstate", None) == postgres.LOCK_NOT_AVAILABLE:
        return Unavailable(
            "Another process has written to the PostgreSQL database of the prediction log for longer than "
            f"{postgres.LOCK_TIMEOUT_MS // 1000} s.",
            hint="`SELECT * FROM pg_stat_activity` shows who it is.",
        )
    return Unavailable(
        "The PostgreSQL database of the prediction log does not answer.",
        hint="Check that the server runs, that the database exists and that this user may connect to it.",
    )


def _opened(path: Path) -> Engine:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return create_engine(f"sqlite:///{path}")


def _connected(url: str) -> Engine:
    parsed = postgres.with_driver(make_url(url))
    options = {"options": f"-c search_path={SCHEMA}", "connect_timeout": _CONNECT_SECONDS}
    try:
        return create_engine(parsed, pool_pre_ping=True, connect_args=options)
    except ModuleNotFoundError as error:
        raise Refused(
            f"{postgres.place_of(parsed)} needs a driver that is not installed ({error.name}).",
            hint="Install it with `pip install 'serinus[postgres]'`.",
        ) from error
