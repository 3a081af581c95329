"""A store is copied to PostgreSQL and back: afterwards every read gives the same, and it goes on from there."""

from __future__ import annotations

import inspect
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select
from store_values import ANNA, NOW, event, full_rollout, release, rollout
from waiting import wait_until

from serinus.backends.sql import SqlStore, copy_store, copying
from serinus.backends.sql.tables import SCHEMA, metadata
from serinus.core.errors import Refused, Unavailable
from serinus.core.kept_rows import KeptRow
from serinus.core.people import Access
from serinus.core.ports import Store
from serinus.core.rollout import ModelState, Order, Phase
from serinus.lib.postgres import Lock

pytestmark = pytest.mark.long

psycopg = pytest.importorskip("psycopg")

MODELS = ("Zebra", "card-fraud", "älter")
"""Which databases sort differently."""
READS: Mapping[str, Callable[[Store], Any]] = {
    "audit_broken_at": lambda store: store.audit_broken_at(),
    "audit_trail": lambda store: [store.audit_trail(), store.audit_trail(model="card-fraud", newest=True)],
    "events": lambda store: [store.events(), store.events(model="Zebra"), store.events(rollout="card-fraud-r1")],
    "events_after": lambda store: store.events_after(0, 1000),
    "in_flight": lambda store: [store.in_flight(), store.in_flight("card-fraud")],
    "kept_rows": lambda store: store.kept_rows("card-fraud"),
    "last_rollouts": lambda store: store.last_rollouts([release().id]),
    "last_term": lambda store: store.last_term(),
    "model": lambda store: [store.model(model) for model in MODELS],
    "models": lambda store: store.models(),
    "models_with_kept_rows": lambda store: store.models_with_kept_rows(),
    "models_after": lambda store: sorted(store.models_after("", 100), key=lambda state: state.model),
    "orders": lambda store: [store.orders(f"card-fraud-r{number}") for number in (1, 2)],
    "orders_of": lambda store: store.orders_of(["card-fraud-r1", "card-fraud-r2"]),
    "pending": lambda store: store.pending(),
    "releases": lambda store: [store.releases(), store.releases("card-fraud", 2, after=release("9").id)],
    "rollout": lambda store: store.rollout("card-fraud-r2"),
    "rollouts": lambda store: [store.rollouts(), store.rollouts(promoted=True), store.rollouts(release=release().id)],
    "setting": lambda store: store.setting("policy.card-fraud"),
    "settings": lambda store: store.settings(""),
    "token": lambda store: store.token("payments", plane="data"),
    "tokens": lambda store: store.tokens(),
    "whose_token": lambda store: None,  # It needs the secret, see below.
}
WRITES = {
    *("add_release", "audit", "begin_term", "create", "emit", "issue_token", "next_number", "order", "own_token"),
    *("revoke_token", "save", "save_in_flight", "save_model", "set_setting", "supersede", "keep_rows", "forget_rows"),
}


def everything(store: Store) -> dict[str, Any]:
    return {name: read(store) for name, read in READS.items()}


def test_every_read_of_the_store_is_compared() -> None:
    methods = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    assert methods == READS.keys() | WRITES


@contextmanager
def opened(url: str) -> Iterator[SqlStore]:
    with closing(SqlStore(url)) as store:
        yield store


def fill(store: SqlStore) -> dict[str, str]:
    """Leaves no table empty, and gaps in numbers. Returns the secrets of tokens by their names."""
    store.begin_term(7, "control-0")
    for version in ("7", "8", "9"):
        store.add_release(release(version))
    for model in MODELS:
        store.save_model(ModelState(model, champion=release(model=model), since=NOW), [event("promoted", model)])
        store.set_setting(f"policy.{model}", '{"approval_required": true}')
    for number in (1, 2):
        assert store.next_number("card-fraud") == number
    store.create(rollout(1), [event("created")])
    store.save(replace(full_rollout(), status=replace(full_rollout().status, phase=Phase.PROMOTED)))
    store.create(replace(rollout(2), candidate=release("8")))
    store.order("card-fraud-r2", Order("promote", ANNA, "", NOW))
    store.supersede("card-fraud-r2", Order("abort", ANNA, "two's\t\\ö", NOW), rollout(3))
    for number in range(5):
        store.audit(ANNA, "deploy", f"card-fraud@{number}", "because", {"ö": [1, None]}, NOW)
    store.keep_rows("card-fraud", [KeptRow(("amount",), [1.0], 0.5, "card-fraud-7-3f9a2c", "a", "e", NOW)])
    names = {"ada": "control", "gone": "control", "payments": "data"}
    secrets = {name: store.issue_token(name, Access.APPROVE, NOW, plane=plane) for name, plane in names.items()}
    store.revoke_token("gone", NOW + timedelta(days=1))
    return secrets


@pytest.fixture(autouse=True)
def _few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_ROWS", 2)


@pytest.fixture
def at_home(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=["to PostgreSQL", "back"])
def way(request: pytest.FixtureRequest, at_home: str, postgres_database: str) -> tuple[str, str]:
    """The source and the destination."""
    urls = at_home, postgres_database
    return urls if request.param == "to PostgreSQL" else urls[::-1]


def counts(url: str) -> dict[str, int]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        tables = metadata.sorted_tables
        found = {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}
    engine.dispose()
    return found


def test_every_read_gives_the_same_after_the_copy(way: tuple[str, str]) -> None:
    source, destination = way
    with opened(source) as store:
        secrets, before = fill(store), everything(store)
    assert min(counts(source).values()) > 0
    copied = copy_store(source, destination)
    assert counts(destination) == counts(source)
    assert copied == {name: counts(source)[name] for name in copied}
    for url in way:  # and the source is as it was
        with opened(url) as store:
            assert everything(store) == before
            assert store.audit_broken_at() is None
            found = [store.whose_token(secrets[name]) for name in ("ada", "gone")]
            assert [who and (who.name, who.access) for who in found] == [("ada", Access.APPROVE), None]
            key = store.whose_token(secrets["payments"], plane="data")
            assert key is not None
            assert key.name == "payments"


def test_what_is_stored_after_the_copy_gets_new_numbers(way: tuple[str, str]) -> None:
    source, destination = way
    with opened(source) as store:
        fill(store)
        last = store.events()[-1].number
    copy_store(source, destination)
    with opened(destination) as store:
        store.emit([event("first"), event("second")])
        assert [one.number for one in store.events(after=last)] == [last + 1, last + 2]
        assert store.next_number("card-fraud") == 3
        store.add_release(release("10"))
        assert [one.version for one in store.releases("card-fraud")] == ["10", "9", "8", "7"]
        store.order("card-fraud-r2", Order("approve", ANNA, "", NOW))
        assert [one.kind for one in store.orders("card-fraud-r2")] == ["promote", "abort", "approve"]
        store.issue_token("bert", Access.VIEW, NOW)
        assert [token["name"] for token in store.tokens()] == ["ada", "gone", "payments", "bert"]
        store.save(replace(rollout(2), status=replace(rollout(2).status, phase=Phase.ABORTED)))
        store.create(rollout(3))
        assert [one.id for one in store.rollouts()] == ["card-fraud-r3", "card-fraud-r2", "card-fraud-r1"]
        assert store.pending() == []
        store.audit(ANNA, "deploy", "card-fraud@1", "", {}, NOW)
        assert [entry.number for entry in store.audit_trail(newest=True, limit=2)] == [5, 6]
        assert store.audit_broken_at() is None
        store.begin_term(8, "control-1")


def test_tables_without_rows_are_numbered_from_the_first_one(at_home: str, postgres_database: str) -> None:
    SqlStore(at_home).close()
    assert set(copy_store(at_home, postgres_database).values()) == {0, 1}
    with opened(postgres_database) as store:
        store.emit([event("first")])
        assert [one.number for one in store.events()] == [1]


def test_a_copy_protects_the_audit_record_as_well(at_home: str, postgres_database: str) -> None:
    with opened(at_home) as store:
        fill(store)
    copy_store(at_home, postgres_database)
    with (
        psycopg.connect(postgres_database) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="append-only"),
    ):
        connection.execute("DELETE FROM audit WHERE number = 1")


# --- what is refused --------------------------------------------------------------------------------------


def test_a_destination_that_is_not_empty_stays_as_it_is(way: tuple[str, str]) -> None:
    source, destination = way
    with opened(source) as store:
        fill(store)
    with opened(destination) as store:
        store.set_setting("a", "b")
        before = everything_of_few(store)
    with pytest.raises(Refused, match="is not empty, and nothing is copied over a store"):
        copy_store(source, destination)
    with opened(destination) as store:
        assert everything_of_few(store) == before


def everything_of_few(store: Store) -> list[Any]:
    return [store.settings(""), store.events(), store.tokens(), store.rollouts(), store.audit_trail()]


@pytest.mark.parametrize(
    ("version", "words", "next_step"),
    [
        ("0005", "earlier version of Serinus: it has schema 0005", "serinus up"),
        ("9999", "newer version of Serinus: it has schema 9999", "that wrote"),
    ],
)
def test_a_store_of_another_schema_is_neither_copied_nor_migrated(
    way: tuple[str, str], tmp_path: Path, version: str, words: str, next_step: str
) -> None:
    source, destination = way
    with opened(source) as store:
        fill(store)
    change = f"UPDATE alembic_version SET version_num = '{version}'"
    execute(source, change)
    with pytest.raises(Refused, match=words) as refused:
        copy_store(source, destination)
    assert next_step in refused.value.hint
    assert version_of(source) == version
    execute(source, change.replace(version, SCHEMA))
    SqlStore(destination).close()
    execute(destination, change)
    with pytest.raises(Refused, match=words):
        copy_store(source, destination)
    assert version_of(destination) == version


def execute(url: str, *statements: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            for statement in statements:
                connection.execute(statement)
    else:
        with psycopg.connect(url) as connection:
            for statement in statements:
                connection.execute(statement)


def version_of(url: str) -> str:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    engine.dispose()
    return str(found)


def test_a_store_of_the_first_version_is_refused_too(tmp_path: Path, at_home: str, postgres_database: str) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.executescript((Path(__file__).parent / "homes" / "schema_2.sql").read_text())
        connection.execute("UPDATE schema_version SET version = 1")
        connection.commit()
    with pytest.raises(Refused, match="it has schema 1,"):
        copy_store(at_home, postgres_database)


def test_a_source_without_a_store_is_refused_and_nothing_is_made(at_home: str, postgres_database: str) -> None:
    with pytest.raises(Refused, match="has no store"):
        copy_store(postgres_database, at_home)
    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_a_database_that_a_control_plane_uses_is_refused(way: tuple[str, str], postgres_database: str) -> None:
    source, destination = way
    with opened(source) as store:
        fill(store)
    with opened(postgres_database), pytest.raises(Refused, match="is used by a control plane") as refused:
        copy_store(source, destination)
    assert "serinus down" in refused.value.hint
    copy_store(source, destination)


def test_a_control_plane_that_waits_to_write_is_not_disturbed(way: tuple[str, str], postgres_database: str) -> None:
    """Each holds a lock for which the other one would wait."""
    source, destination = way
    with opened(source) as store:
        fill(store)
    SqlStore(postgres_database).close()
    over = threading.Event()

    def write(store: SqlStore) -> int:
        written = 0
        while not over.is_set():
            store.begin_term(7, "control-0")
            written += 1
        return written

    with opened(postgres_database) as store, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, store)
        try:
            with pytest.raises(Refused, match="is used by a control plane"):
                copy_store(source, destination)
        finally:
            over.set()
        assert writing.result() > 0


def test_a_control_plane_that_starts_during_a_copy_does_not_write_to_it(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.lib.postgres.LOCK_TIMEOUT_MS", 200)
    SqlStore(postgres_database).close()
    with psycopg.connect(postgres_database) as copying_to_it:
        copying_to_it.execute(f"SELECT pg_advisory_lock({Lock.STORE_IN_USE:d})")
        with pytest.raises(Unavailable, match="locked by another process"):
            SqlStore(postgres_database)
    SqlStore(postgres_database).close()


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [("NEW.value := 'other'; RETURN NEW;", "3 are there, with other content"), ("RETURN NULL;", "0 are there.")],
)
def test_a_copy_that_differs_is_not_kept(at_home: str, postgres_database: str, change: str, words: str) -> None:
    with opened(at_home) as store:
        fill(store)
    SqlStore(postgres_database).close()
    execute(
        postgres_database,
        f"CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change} END $$",
        "CREATE TRIGGER change BEFORE INSERT ON settings FOR EACH ROW EXECUTE FUNCTION change()",
    )
    with pytest.raises(Refused, match=f"3 settings were read, and {re.escape(words)}"):
        copy_store(at_home, postgres_database)
    with opened(postgres_database) as store:
        assert everything_of_few(store) == [{}, [], [], [], []]


def test_a_copy_that_is_killed_leaves_an_empty_store_that_can_be_copied_to(
    at_home: str, postgres_database: str
) -> None:
    with opened(at_home) as store:
        fill(store)
    SqlStore(postgres_database).close()
    code = "import sys; from serinus.backends.sql import copy_store; copy_store(*sys.argv[1:])"
    with psycopg.connect(postgres_database) as connection:
        # The process waits for this table, which is not the first one.
        connection.execute("LOCK TABLE tokens IN EXCLUSIVE MODE")
        process = subprocess.Popen([sys.executable, "-c", code, at_home, postgres_database])
        try:
            with psycopg.connect(postgres_database, autocommit=True) as other:
                waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tokens'::regclass"
                wait_until(lambda: other.execute(waits).fetchone() == (1,), what="the copy at the tokens")
        finally:
            process.kill()
            process.wait(10)
        assert process.returncode == -signal.SIGKILL
    with psycopg.connect(postgres_database, autocommit=True) as other:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        wait_until(lambda: other.execute(sessions).fetchone() == (1,), what="the end of its session")
    assert {name for name, rows in counts(postgres_database).items() if rows} == {
        *("schema_version", "alembic_version", "audit_head", "leadership")
    }
    assert copy_store(at_home, postgres_database)["audit"] == 5


def test_an_error_names_the_database_that_has_it(
    at_home: str, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction of the other one is open at that time."""
    with opened(at_home) as store:
        fill(store)
    execute(at_home, "DROP TABLE orders")
    with pytest.raises(Unavailable, match=r"store\.db cannot be read"):
        copy_store(at_home, postgres_database)
    with opened(postgres_database) as store:
        assert everything_of_few(store) == [{}, [], [], [], []]
