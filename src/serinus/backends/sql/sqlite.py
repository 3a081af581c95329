"""All that is SQLite's own: how a connection is set up, how a transaction begins, which errors mean what.

WAL lets readers go on while one writes; `synchronous=FULL` makes a commit survive a loss of power. A transaction that
will write begins IMMEDIATE: one that starts as a reader and then wants to write is refused at once when another writer
came in between, however long the busy timeout is.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from serinus.core.errors import Refused, SerinusError, Unavailable

BUSY_TIMEOUT_MS = 10_000

_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS audit_refuses_{verb} BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END
"""


def prepare(engine: Engine, writes: str) -> Engine:
    """The engine for reading. Every connection is set up as described above; `writes`: the execution option of those
    whose transactions write."""

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own implicit BEGIN is a deferred one
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
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


def protect_audit(connection: Connection) -> None:
    """The database refuses to change or remove an audit entry."""
    for verb in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(_APPEND_ONLY.format(verb=verb))


def explain(error: DBAPIError, place: str) -> SerinusError:
    """What a failure of the database means for a person."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None  # the upper bits only say which system call it was
    if primary == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"The disk that holds {place} is full: nothing was written, and nothing that was written before is lost.",
            hint="Free some space; serving goes on meanwhile, new deployments wait.",
            delay=30,
        )
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Refused(
            f"{place} is not a readable SQLite database ({error.orig}).",
            hint="Restore it from a copy, or start with another --home.",
        )
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"{place} has been locked by another process for {BUSY_TIMEOUT_MS // 1000} s.",
            hint="Close whatever has it open.",
        )
    return Unavailable(
        f"{place} cannot be read or written ({error.orig}).",
        hint="Check that the disk has space and that the directory belongs to this user.",
    )
