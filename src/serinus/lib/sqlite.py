"""How a connection to SQLite is set up, and how its transactions begin, for SQLAlchemy.

WAL lets readers go on while one writes; `synchronous=FULL` makes a commit survive a loss of power. A transaction that
will write begins IMMEDIATE: one that starts as a reader and then wants to write is refused at once when another writer
came in between, however long the busy timeout is.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

BUSY_SECONDS = 10
"""For so long a writer waits for another one."""


def prepare(engine: Engine, writes: str) -> Engine:
    """The same engine; every connection that it makes from now on is set up as described above. `writes`: the execution
    option of connections whose transactions write; the others read."""

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own implicit BEGIN is a deferred one
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
