"""The store in a SQL database: SQLite on one machine, PostgreSQL for several."""

from serinus.backends.sql.store import SqlStore

__all__ = ["SqlStore"]
