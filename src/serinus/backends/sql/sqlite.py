"""The parts of the store that are specific to SQLite: connections (`lib.sqlite`) and errors."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.exc import DBAPIError

from serinus.core.errors import Refused, SerinusError, Unavailable
from serinus.lib import sqlite
from serinus.lib.sqlite import BUSY_SECONDS

__all__ = ["explain", "number_on", "prepare", "protect_audit", "use_alone"]

_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS audit_refuses_{verb} BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END
"""


def prepare(engine: Engine, writes: str) -> Engine:
    """Returns the engine for reading. `writes` is the execution option of connections whose transactions write. What is
    removed is overwritten, because kept rows have an age at which they must be gone from the file."""

    def connected(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA secure_delete=ON").close()

    event.listen(engine, "connect", connected)
    return sqlite.prepare(engine, writes)


def protect_audit(connection: Connection) -> None:
    """Has the database refuse to change or remove an audit entry."""
    for verb in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(_APPEND_ONLY.format(verb=verb))


def use_alone(_connection: Connection) -> bool:
    """Whether no other process uses the database. SQLite does not know, and the home's lock says it."""
    return True


def number_on(_connection: Connection, _table: Table) -> None:
    """Does nothing, because AUTOINCREMENT counts on from the highest number."""


def explain(error: DBAPIError, place: str) -> SerinusError:
    """Returns the error for people."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None  # The upper bits only name the system call.
    if primary == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"The disk that holds {place} is full: nothing was written, and nothing that was written before is lost.",
            hint="Free some space; serving goes on meanwhile, new deployments wait.",
            delay=30,
        )
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Refused(
            f"{place} is not a readable SQLite database ({error.orig}).",
            hint="Restore it from a backup, or start with another --home.",
        )
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"{place} has been locked by another process for {BUSY_SECONDS} s.",
            hint="Close the program that has it open.",
        )
    return Unavailable(
        f"{place} cannot be read or written ({error.orig}).",
        hint="Check that the disk has space and that the directory belongs to this user.",
    )
