"""The parts of the store that are specific to PostgreSQL: its lock, protecting the audit record, errors.

The lock of writers (`lib.postgres`) makes the store's checks, the chain of the audit record and the order of events the
work of a single writer at a time.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from serinus.core.errors import Refused, SerinusError, Unavailable
from serinus.lib import postgres
from serinus.lib.postgres import place_of, with_driver

__all__ = ["explain", "place_of", "prepare", "protect_audit", "with_driver"]

_LOCK = 0x5E21_9005
"""The number of the store's advisory lock in its database."""

_APPEND_ONLY = (
    """
    CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'the audit record is append-only'; END $$
    """,
    "CREATE TRIGGER audit_refuses_row BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuses()",
    "CREATE TRIGGER audit_refuses_all BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()",
)


def prepare(engine: Engine, writes: str) -> Engine:
    """Returns the engine for reading. `writes` is the execution option of connections whose transactions write."""
    return postgres.prepare(engine, writes, _LOCK)


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
    if state == "55P03":
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
