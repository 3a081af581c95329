"""The schema. Values are kept whole as JSON text, beside the columns that are searched. Times are ISO 8601, UTC."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

SCHEMA = 2
"""Raised with every change of these tables, with a line in `UPGRADES`: a store with a number that is not there is
another version's."""

UPGRADES = {
    1: (
        "ALTER TABLE tokens ADD COLUMN owner VARCHAR(128)",
        "ALTER TABLE tokens ADD COLUMN models TEXT",
    ),
}
"""From which schema -> what makes the next one of it."""

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

rollouts = Table(
    "rollouts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(200), nullable=False, unique=True),
    Column("model", String(200), nullable=False, index=True),
    Column("in_flight", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)
# The database itself refuses a second rollout in flight, whichever code or process tries.
Index(
    "one_in_flight",
    rollouts.c.model,
    unique=True,
    sqlite_where=rollouts.c.in_flight,
    postgresql_where=rollouts.c.in_flight,
)

orders = Table(
    "orders",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("rollout", String(200), ForeignKey(rollouts.c.id), nullable=False, index=True),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)

numbers = Table(
    "numbers",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("last", Integer, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("document", Text, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(200), nullable=False, unique=True),
    Column("model", String(200), nullable=False, index=True),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("model", String(200), nullable=False, index=True),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("who", String(200), nullable=False),
    Column("what", String(200), nullable=False),
    Column("subject", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("origin", String(200), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

# A chain alone does not show that its end was cut off: the head is kept a second time, in one row.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("entries", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("access", String(16), nullable=False),
    Column("plane", String(16), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("issued_at", String(40), nullable=False),
    Column("revoked_at", String(40)),
    Column("owner", String(128)),
    Column("models", Text),
    sqlite_autoincrement=True,
)
Index(
    "one_valid_token_of_a_name",
    tokens.c.name,
    unique=True,
    sqlite_where=tokens.c.revoked_at.is_(None),
    postgresql_where=tokens.c.revoked_at.is_(None),
)

settings = Table(
    "settings",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("value", Text, nullable=False),
)
