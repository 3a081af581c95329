"""PostgreSQL connections and transactions for SQLAlchemy.

A transaction that writes holds one advisory lock from its first statement to its end, so that there is a single writer
at a time. It runs as READ COMMITTED, because a snapshot from before the lock would not show what the previous writer
has committed. A transaction that reads has a single snapshot.
"""

from __future__ import annotations

from enum import IntEnum, unique

from sqlalchemy import URL, Connection, Engine, event


@unique
class Lock(IntEnum):
    """The numbers of all advisory locks. They differ, because one database may hold everything."""

    STORE = 0x5E21_9005
    """The lock of who writes to the store."""
    PREDICTIONS = 0x5E21_9006
    """The lock of who writes counts and outcomes of the prediction log."""
    STORE_IN_USE = 0x5E21_9007
    """The lock that every session of the store shares for as long as it lives."""


LOCK_TIMEOUT_MS = 10_000

LOCK_NOT_AVAILABLE = "55P03"
"""The SQLSTATE of a statement that did not get its lock within that time."""

IDLE_TIMEOUT_MS = 5_000
"""The time after which the server ends the session of a process that is stopped in the middle of a transaction that
writes. It holds the lock of all writers."""


def with_driver(url: URL) -> URL:
    """Returns the URL with the driver that the extra installs."""
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def place_of(url: URL) -> str:
    """Returns the database and its server, for people, without the password."""
    return (
        f"The PostgreSQL database {url.database or url.username} on {url.host or url.query.get('host', 'this machine')}"
    )


def prepare(engine: Engine, writes: str, lock: Lock) -> Engine:
    """Returns the engine for reading. `writes` is the execution option of connections whose transactions write. `lock`
    is the one that writers hold."""

    def begun(connection: Connection) -> None:
        if connection.get_execution_options().get(writes, False):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}")
            connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock:d})")

    event.listen(engine, "begin", begun)
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
