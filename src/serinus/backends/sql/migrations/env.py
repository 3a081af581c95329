"""Run by Alembic for every command: the migrations go over the connection, and in the transaction, of the store."""

from __future__ import annotations

from alembic import context

from serinus.backends.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
