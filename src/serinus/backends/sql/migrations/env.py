"""Alembic runs this file for every command. The migrations use the store's connection and transaction."""

from __future__ import annotations

from alembic import context

from serinus.backends.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
