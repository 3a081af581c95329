"""The store in a SQL database: SQLite on one machine, written so that another database fits."""

from serinus.backends.sql.store import SqlStore

__all__ = ["SqlStore"]
