"""The tables. Values are stored whole as JSON text, beside the columns that are searched. Times are ISO 8601 in UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

SCHEMA = "0007"
"""The migration after which the tables are as below (see `migrations/versions`). A new store is created from this
module."""

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))
"""For versions of Serinus before migrations, which refuse a store with an unknown number. It stays at 3."""

alembic_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))
"""Alembic's table, which names the last migration."""

rollouts = Table(
    "rollouts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(200), nullable=False, unique=True),
    Column("model", String(200), nullable=False),
    Column("in_flight", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Column("version", String(200), nullable=False, server_default=""),
    Column("release", String(200)),
    Column("promoted", Boolean, nullable=False, server_default=false()),
    sqlite_autoincrement=True,
)
Index("rollouts_of_model", rollouts.c.model, rollouts.c.number)
Index("rollouts_of_version", rollouts.c.model, rollouts.c.version, rollouts.c.number)
Index("rollouts_of_release", rollouts.c.release, rollouts.c.number)
# SQLite uses a partial index only where the query has exactly this condition, as SQLAlchemy writes it.
Index(
    "promoted_rollouts",
    rollouts.c.model,
    rollouts.c.number,
    sqlite_where=text("promoted = 1"),
    postgresql_where=rollouts.c.promoted,
)
Index(
    "rollouts_in_flight",
    rollouts.c.number,
    sqlite_where=text("in_flight = 1"),
    postgresql_where=rollouts.c.in_flight,
)
# The database itself refuses a second rollout in flight.
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
    Column("rollout", String(200), ForeignKey(rollouts.c.id), nullable=False),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("orders_of_rollout", orders.c.rollout, orders.c.number)

# Rollouts that begin when the one in flight of their model has ended.
pending = Table(
    "pending",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(200), nullable=False, unique=True),
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
    Column("model", String(200), nullable=False),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("releases_of_model", releases.c.model, releases.c.number)

events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("model", String(200), nullable=False),
    Column("document", Text, nullable=False),
    Column("rollout", String(200)),
    sqlite_autoincrement=True,
)
Index("events_of_model", events.c.model, events.c.number)
Index("events_of_rollout", events.c.rollout, events.c.number)

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

# A chain alone does not show that its end is missing, so the number and digest of the last entry are stored here.
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

# Rows that a faster way answered wrong. They hold values that callers sent.
kept_rows = Table(
    "kept_rows",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("document", Text, nullable=False),
)

# One row: the highest term in which a control plane has decided.
leadership = Table(
    "leadership",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("term", BigInteger, nullable=False),
    Column("holder", String(300), nullable=False),
)
