"""The parts of the store that are specific to PostgreSQL: its locks, protecting the audit record, errors.

The lock of writers (`lib.postgres`) makes the store's checks, the chain of the audit record and the order of events the
work of a single writer at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from serinus.core.errors import InvalidInput, Refused, SerinusError, Unavailable
from serinus.lib import postgres
from serinus.lib.postgres import Lock, place_of, with_driver

__all__ = ["explain", "number_on", "place_of", "prepare", "protect_audit", "url_in", "use_alone", "with_driver"]

_APPEND_ONLY = (
    """
    CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'the audit record is append-only'; END $$
    """,
    "CREATE TRIGGER audit_refuses_row BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuses()",
    "CREATE TRIGGER audit_refuses_all BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()",
)


def url_in(file: Path) -> str:
    """Returns the URL of the PostgreSQL database in the file. Raises InvalidInput, which does not quote what the file
    holds, because it may be a password."""
    try:
        url = file.read_text(encoding="utf-8").strip()
        backend = make_url(url).get_backend_name()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"The URL of the database cannot be read from {file}: {why}.") from error
    except (ArgumentError, ValueError):
        backend = ""
    if backend != "postgresql":
        raise InvalidInput(
            f"{file} does not hold the URL of a PostgreSQL database.",
            hint="Write `postgresql://USER:PASSWORD@HOST/DATABASE`, with special characters as %XX.",
        )
    return url


def prepare(engine: Engine, writes: str) -> Engine:
    """Returns the engine for reading. `writes` is the execution option of connections whose transactions write."""

    def connected(connection: Any, _record: object) -> None:
        connection.execute(f"SET LOCAL lock_timeout = {postgres.LOCK_TIMEOUT_MS}")
        connection.execute(f"SELECT pg_advisory_lock_shared({Lock.STORE_IN_USE:d})")
        connection.commit()

    event.listen(engine, "connect", connected)
    return postgres.prepare(engine, writes, Lock.STORE)


def use_alone(connection: Connection) -> bool:
    """Returns whether no other session uses the database. None does then until this session ends."""
    # It does not wait, because a session that uses the database may wait for this one.
    return bool(connection.execute(select(func.pg_try_advisory_lock(int(Lock.STORE_IN_USE)))).scalar_one())


def number_on(connection: Connection, table: Table) -> None:
    """Has the sequence of the table's numbers continue after the highest one."""
    column = table.autoincrement_column
    if column is not None:
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        highest = select(func.max(column)).scalar_subquery()
        connection.execute(select(func.setval(sequence, func.coalesce(highest, 1), highest.is_not(None))))


def protect_audit(connection: Connection) -> None:
    """Has the database refuse to change or remove an audit entry."""
    for statement in _APPEND_ONLY:
        connection.exec_driver_sql(statement)


def explain(error: DBAPIError, place: str) -> SerinusError:
    """Returns the error for people. The message of the database is left out, because it may quote values."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == "53100":
        return Unavailable(
            f"{place} has no space left on its disk: nothing was written, and nothing that was written before is lost.",
            hint="Free some space there; serving goes on meanwhile, new deployments wait.",
            delay=30,
        )
    if state == postgres.LOCK_NOT_AVAILABLE:
        return Unavailable(
            f"{place} has been locked by another process for {postgres.LOCK_TIMEOUT_MS // 1000} s.",
            hint="Look for a session that waits in a transaction: `SELECT * FROM pg_stat_activity`.",
        )
    if state == "42501":
        return Refused(
            f"{place} does not let this user do what the store needs (SQLSTATE {state}).",
            hint="Connect as the user that owns the tables.",
        )
    if not state and isinstance(error, OperationalError):  # The connection was not established, or is lost.
        return Unavailable(
            f"{place} cannot be connected to.",
            hint="Check that the server runs, that the database exists and that this user may connect to it.",
        )
    told = f"SQLSTATE {state}" if state else type(error.orig).__name__
    return Unavailable(f"{place} cannot be read or written ({told}).", hint="The log of the server says more.")
