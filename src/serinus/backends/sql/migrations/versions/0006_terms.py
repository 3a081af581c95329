"""The highest term in which a control plane has decided is kept, so that one of a lower term cannot write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    table = op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(300), nullable=False),
    )
    op.bulk_insert(table, [{"id": 1, "term": 0, "holder": ""}])
