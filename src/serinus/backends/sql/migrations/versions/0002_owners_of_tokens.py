"""Tokens get an owner, and API keys the models that they open.

A store before this one has schema 1 in `schema_version`. The first versions of Serinus made it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("owner", sa.String(128)))
    op.add_column("tokens", sa.Column("models", sa.Text()))
