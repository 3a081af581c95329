"""SQLite connections and transactions for SQLAlchemy.

WAL lets readers continue while one connection writes. `synchronous=FULL` makes commits survive a power failure. A
transaction that will write begins IMMEDIATE. A transaction that begins as a reader and then writes fails at once where
another writer came in between, whatever the busy timeout.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

BUSY_SECONDS = 10
"""The time for which a writer waits for another one."""


def prepare(engine: Engine, writes: str) -> Engine:
    """Returns the engine after configuring it as described above. `writes` is the execution option of connections that
    write."""

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # The driver's implicit BEGIN would be deferred.
        for pragma in (
            f"busy_timeout={BUSY_SECONDS * 1000}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    def begun(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(writes, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine
