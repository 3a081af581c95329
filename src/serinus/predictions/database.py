"""The SQLite databases of the prediction log: one writer, any number of readers, each commit durable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event


class Database:
    """One SQLite file in WAL mode: any number of readers beside one writer, each commit durable."""

    def __init__(self, path: Path, tables: MetaData) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._engine: Engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)
        with self.write() as connection:
            tables.create_all(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed on leaving, rolled back by an exception."""
        with self._engine.execution_options(writes=True).begin() as connection:
            yield connection

    def mark(self) -> str:
        """Another one after every commit."""
        seen = []
        for path in (self._path, self._path.with_name(f"{self._path.name}-wal")):
            with suppress(FileNotFoundError):
                stat = path.stat()
                seen.append(f"{stat.st_size}-{stat.st_mtime_ns}")
        return ",".join(seen)

    def close(self) -> None:
        self._engine.dispose()


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once where another has written in between: a writer
    # takes the lock when it begins, and waits for it.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
