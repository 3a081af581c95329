"""Pending rollouts get a table, and columns that are read often get an index.

Before, they were a list of models in the setting `pending` and a rollout in `pending.<model>` for each.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_FLIGHT = {"sqlite_where": sa.text("in_flight = 1"), "postgresql_where": sa.text("in_flight")}
_PROMOTED = {"sqlite_where": sa.text("promoted = 1"), "postgresql_where": sa.text("promoted")}


def upgrade() -> None:
    op.create_table(
        "pending",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(200), nullable=False, unique=True),
        sa.Column("document", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.add_column("rollouts", sa.Column("version", sa.String(200), nullable=False, server_default=""))
    op.add_column("rollouts", sa.Column("release", sa.String(200)))
    op.add_column("rollouts", sa.Column("promoted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("events", sa.Column("rollout", sa.String(200)))
    _fill_in_rollouts(op.get_bind())
    _fill_in_events(op.get_bind())
    _move_pending(op.get_bind())
    for table, column in (("rollouts", "model"), ("orders", "rollout"), ("releases", "model"), ("events", "model")):
        op.drop_index(f"ix_{table}_{column}", table)
    op.create_index("rollouts_of_model", "rollouts", ["model", "number"])
    op.create_index("rollouts_of_version", "rollouts", ["model", "version", "number"])
    op.create_index("rollouts_of_release", "rollouts", ["release", "number"])
    op.create_index("promoted_rollouts", "rollouts", ["model", "number"], **_PROMOTED)
    op.create_index("rollouts_in_flight", "rollouts", ["number"], **_FLIGHT)
    op.create_index("orders_of_rollout", "orders", ["rollout", "number"])
    op.create_index("releases_of_model", "releases", ["model", "number"])
    op.create_index("events_of_model", "events", ["model", "number"])
    op.create_index("events_of_rollout", "events", ["rollout", "number"])
    # Versions of Serinus before migrations read this number, and refuse one that they do not know.
    op.execute("UPDATE schema_version SET version = 3")


def _fill_in_rollouts(connection: sa.Connection) -> None:
    change = sa.text("UPDATE rollouts SET version = :version, release = :release, promoted = :promoted WHERE id = :id")
    ids = connection.execute(sa.text("SELECT id FROM rollouts")).scalars().all()
    for each in ids:  # One at a time, because documents can be large.
        text = connection.execute(sa.text("SELECT document FROM rollouts WHERE id = :id"), {"id": each}).scalar_one()
        document = json.loads(text)
        values = {
            "id": each,
            "version": document["version"],
            "release": (document.get("candidate") or {}).get("id"),
            "promoted": document["status"]["phase"] in ("promoting", "promoted"),
        }
        connection.execute(change, values)


def _fill_in_events(connection: sa.Connection) -> None:
    page = sa.text("SELECT number, document FROM events WHERE number > :after ORDER BY number LIMIT 1000")
    change = sa.text("UPDATE events SET rollout = :rollout WHERE number = :number")
    after = 0
    while rows := connection.execute(page, {"after": after}).all():
        after = rows[-1].number
        found = [{"number": row.number, "rollout": json.loads(row.document).get("rollout")} for row in rows]
        if known := [values for values in found if values["rollout"] is not None]:
            connection.execute(change, known)


def _move_pending(connection: sa.Connection) -> None:
    value = sa.text("SELECT value FROM settings WHERE key = :key")
    insert = sa.text("INSERT INTO pending (id, document) VALUES (:id, :document)")
    delete = sa.text("DELETE FROM settings WHERE key = :key")
    models = json.loads(connection.execute(value, {"key": "pending"}).scalar() or "[]")
    for model in models:
        text = connection.execute(value, {"key": f"pending.{model}"}).scalar()
        if text:  # Empty: it has begun.
            connection.execute(insert, {"id": json.loads(text)["id"], "document": text})
        connection.execute(delete, {"key": f"pending.{model}"})
    connection.execute(delete, {"key": "pending"})
