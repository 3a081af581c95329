"""The tables of counts.db: what is watched, what was counted, and the position in the log.

They are in a SQLite file of one machine, or in a PostgreSQL database for several. The engine writes `watches`,
`followed` and `retention`. The collector is the only writer of all other tables, so its
read-then-write needs no conflict clause, which keeps the SQL portable.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, UniqueConstraint, func

metadata = MetaData()
NOW = func.date_part("epoch", func.now())
"""Unix seconds by the clock of PostgreSQL. The clocks of the machines that share a database may differ."""

watches = Table(
    "watches",
    metadata,
    Column("split", String, primary_key=True),
    Column("rollout", String, nullable=False),
    Column("model", String, nullable=False),
    Column("thresholds", String, nullable=False),  # JSON: release -> score
    Column("slow_ms", Float, nullable=False),
)
counts = Table(
    "counts",
    metadata,
    Column("split", String, primary_key=True),
    Column("release", String, primary_key=True),
    Column("name", String, primary_key=True),  # requests, alerts, ..., step.alerts, rollout.alerts, ...
    Column("value", BigInteger, nullable=False),
)
followed = Table(  # releases that are counted under all splits, as `live:<release>`
    "followed",
    metadata,
    Column("release", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("threshold", Float),
    Column("slow_ms", Float, nullable=False),
)
hours = Table(  # of followed releases
    "hours",
    metadata,
    Column("hour", BigInteger, primary_key=True),  # unix time / 3600
    Column("release", String, primary_key=True),
    Column("name", String, primary_key=True),  # requests, alerts, ..., window.alerts, ...
    Column("value", BigInteger, nullable=False),
)
minutes = Table(
    "minutes",
    metadata,
    Column("minute", BigInteger, primary_key=True),  # unix time / 60
    Column("model", String, primary_key=True),
    Column("release", String, primary_key=True),
    Column("name", String, primary_key=True),  # requests, errors, ms.<bucket of the latency histogram>
    Column("value", BigInteger, nullable=False),
)
totals = Table(  # of a release, since it was first heard of
    "totals",
    metadata,
    Column("model", String, primary_key=True),
    Column("release", String, primary_key=True),
    Column("name", String, primary_key=True),  # requests, errors, fallbacks, cached, dropped
    Column("value", BigInteger, nullable=False),
)
streaks = Table(  # of a release: the failures since its last answer
    "streaks",
    metadata,
    Column("model", String, primary_key=True),
    Column("release", String, primary_key=True),
    Column("failing", BigInteger, nullable=False),
    Column("answered_at", Float),  # unix seconds
    Column("failed_at", Float),
)
entity_sets = Table(
    "entity_sets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("scope", String, nullable=False),  # split:<split> or rollout:<rollout>
    Column("kind", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("used_at", Float, nullable=False),  # unix seconds
    UniqueConstraint("scope", "kind"),
)
entities = Table(
    "entities",
    metadata,
    Column("set_id", Integer, primary_key=True),
    Column("hash", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
router_replies = Table(  # requests that the router answered although a release may still do so, too late
    "router_replies",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("release", String, primary_key=True),
    Column("start", Float, primary_key=True),  # unix seconds
)
writers = Table(
    "writers",
    metadata,
    Column("release", String, primary_key=True),
    Column("boot", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),  # the last one that is in the log
    Column("at", Float, nullable=False),
)
progress = Table(
    "progress",
    metadata,
    Column("name", String, primary_key=True),
    Column("one", BigInteger, nullable=False),
    Column("two", BigInteger, nullable=False),
)
collector = Table(  # one row: whose counts these are, and its report for readers on other machines
    "collector",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("writer", String, nullable=False),  # the name of its disk
    Column("report", String, nullable=False),  # JSON, or empty
    Column("at", Float, nullable=False),  # of the report: unix seconds by the clock of the database
)
retention = Table(
    "retention",
    metadata,
    Column("model", String, primary_key=True),
    Column("days", Integer, nullable=False),
)
