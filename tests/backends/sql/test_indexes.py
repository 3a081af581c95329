"""What is read often is found by an index: the database is asked how it answers each query of the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from serinus.backends.sql import SqlStore
from serinus.core.errors import NotFound
from serinus.core.people import Access, Actor
from serinus.core.rollout import Order

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANNA = Actor("anna", Access.DEPLOY, "cli")
GROWING = ("rollouts", "orders", "releases", "events", "audit", "tokens")
"""Tables that get longer with time. `models`, `settings`, `numbers` and `kept_rows` are as long as the fleet is wide,
`pending` is nearly empty."""


def not_found(act: Callable[[], Any]) -> None:
    with pytest.raises(NotFound):
        act()


HOT: dict[str, Callable[[SqlStore], Any]] = {
    "a rollout": lambda store: not_found(lambda: store.rollout("card-fraud-r1")),
    "in flight": lambda store: store.in_flight(),
    "in flight of a model": lambda store: store.in_flight("card-fraud"),
    "the newest rollouts": lambda store: store.rollouts(),
    "the newest rollouts of a model": lambda store: store.rollouts("card-fraud"),
    "older rollouts": lambda store: not_found(lambda: store.rollouts(after="card-fraud-r1")),
    "rollouts in flight": lambda store: store.rollouts(in_flight=True),
    "releases": lambda store: store.releases(limit=20),
    "older releases": lambda store: not_found(lambda: store.releases(limit=20, after="card-fraud-7-3f9a2c")),
    "rollouts of a version": lambda store: store.rollouts("card-fraud", version="7"),
    "rollouts of a release": lambda store: store.rollouts(release="card-fraud-7-3f9a2c"),
    "the last rollouts of releases": lambda store: store.last_rollouts(["card-fraud-7-3f9a2c", "card-fraud-6-1c04be"]),
    "rollouts of a model's release": lambda store: store.rollouts("card-fraud", release="card-fraud-7-3f9a2c"),
    "the last promotion of a release": lambda store: store.rollouts(release="card-fraud-7-3f9a2c", promoted=True),
    "promotions": lambda store: store.rollouts("card-fraud", promoted=True),
    "orders of rollouts": lambda store: store.orders_of(["card-fraud-r1", "card-fraud-r2"]),
    "orders": lambda store: store.orders("card-fraud-r1"),
    "pending": lambda store: store.pending(),
    "a model": lambda store: store.model("card-fraud"),
    "releases of a model": lambda store: store.releases("card-fraud"),
    "the last events": lambda store: store.events(),
    "events from a number on": lambda store: store.events(after=7),
    "the last events of a model": lambda store: store.events(model="card-fraud"),
    "events of a model from a number on": lambda store: store.events(after=7, model="card-fraud"),
    "events for a subscriber": lambda store: store.events_after(0, 200),
    "events of a model for a subscriber": lambda store: store.events_after(0, 200, model="card-fraud"),
    "events of a rollout": lambda store: store.events(rollout="card-fraud-r1"),
    "the audit from a number on": lambda store: store.audit_trail(after=7),
    "whose a token is": lambda store: store.whose_token("srn_x"),
    "a token by name": lambda store: store.token("anna"),
    "a setting": lambda store: store.setting("policy.card-fraud"),
    "an audit entry": lambda store: store.audit(ANNA, "deploy", "card-fraud@7", "", {}, NOW),
    "a token that is issued": lambda store: store.issue_token("anna", Access.VIEW, NOW),
    "an order": lambda store: not_found(lambda: store.order("card-fraud-r1", Order("abort", ANNA, "", NOW))),
}

SHORT = ("rollouts_in_flight", "one_in_flight")
"""Indexes that hold a few rows of their tables only."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{tmp_path_factory.mktemp('indexes') / 'store.db'}")) as store:
        yield store


@contextmanager
def asked() -> Iterator[list[tuple[str, Any]]]:
    """The statements that reach a database meanwhile, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def keep(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", keep)
    yield statements
    event.remove(Engine, "before_cursor_execute", keep)


def reads_too_much(statement: str, plan: Sequence[str]) -> list[str]:
    """The steps of the plan that take longer the longer a table is."""
    found = [step for step in plan if "TEMP B-TREE" in step]
    for step in plan:
        scanned = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
        if scanned is None or scanned[1] not in GROWING or scanned[2] in SHORT:
            continue
        if "LIMIT" not in statement or "WHERE" in statement:  # else it goes along the numbers and stops soon
            found.append(step)
    return found


@pytest.mark.parametrize("what", HOT)
def test_no_query_that_is_asked_often_reads_a_growing_table_from_end_to_end(what: str, store: SqlStore) -> None:
    with asked() as statements:
        HOT[what](store)
    assert statements
    with store._database.read() as connection:
        for statement, parameters in statements:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plan = [row.detail for row in rows]
            assert reads_too_much(statement, plan) == [], f"{statement}\n{plan}"


def test_the_check_sees_a_table_that_is_read_from_end_to_end(store: SqlStore) -> None:
    queries = (
        ("SELECT document FROM rollouts WHERE document = 'x' ORDER BY number DESC LIMIT 1", 1),
        ("SELECT document FROM events ORDER BY document LIMIT 1", 1),
        ("SELECT document FROM rollouts ORDER BY number DESC LIMIT 1", 0),
    )
    with store._database.read() as connection:
        for query, steps in queries:
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
            assert len(reads_too_much(query, plan)) == steps, plan
