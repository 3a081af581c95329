"""The store in a SQL database: SQLite on one machine, PostgreSQL for several."""

from serinus.backends.sql.copying import copy_store
from serinus.backends.sql.postgres import url_in
from serinus.backends.sql.store import SqlStore

__all__ = ["SqlStore", "copy_store", "url_in"]
