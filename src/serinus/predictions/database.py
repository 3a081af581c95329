"""The SQLite databases of the prediction log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, MetaData, create_engine

from serinus.lib import sqlite


class Database:
    """A SQLite file in WAL mode, with any number of readers beside one writer. Each commit is durable."""

    def __init__(self, path: Path, tables: MetaData) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._engine = sqlite.prepare(create_engine(f"sqlite:///{path}"), "writes")
        with self.write() as connection:
            tables.create_all(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Opens a connection with one consistent view."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Opens a transaction, which is committed at the end and rolled back by an exception."""
        with self._engine.execution_options(writes=True).begin() as connection:
            yield connection

    def mark(self) -> str:
        """Returns a text that changes with every commit."""
        seen = []
        for path in (self._path, self._path.with_name(f"{self._path.name}-wal")):
            with suppress(FileNotFoundError):
                stat = path.stat()
                seen.append(f"{stat.st_size}-{stat.st_mtime_ns}")
        return ",".join(seen)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()
