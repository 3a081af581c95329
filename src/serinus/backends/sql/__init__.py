"""The store in a SQL database: SQLite on one machine, PostgreSQL where several reach it."""

from serinus.backends.sql.store import SqlStore

__all__ = ["SqlStore"]
