"""Rows that a faster way answered wrong get a table.

Before, they were in files of the home, which `wiring.kept_files` reads into the store.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "kept_rows",
        sa.Column("model", sa.String(200), primary_key=True),
        sa.Column("document", sa.Text(), nullable=False),
    )
