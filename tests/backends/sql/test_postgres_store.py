"""What is PostgreSQL's own: who may write when, what fails how, and that its transactions undo a migration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from serinus.backends.sql import SqlStore, schema
from serinus.core.errors import Refused, Unavailable
from serinus.core.events import Event
from serinus.core.people import Access, Actor
from serinus.lib.postgres import Lock

psycopg = pytest.importorskip("psycopg")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANNA = Actor("anna", Access.DEPLOY, "cli")


@pytest.fixture
def store(postgres_database: str) -> Iterator[SqlStore]:
    store = SqlStore(postgres_database)
    yield store
    store.close()


@pytest.fixture
def connection(postgres_database: str) -> Iterator[Any]:
    """As somebody else's who has the database's password."""
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit WHERE number = 1", "TRUNCATE audit"]
)
def test_the_database_itself_refuses_to_change_or_remove_an_audit_entry(
    store: SqlStore, connection: Any, statement: str
) -> None:
    store.audit(ANNA, "deploy", "card-fraud@1", "", {}, NOW)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        connection.execute(statement)
    assert len(store.audit_trail()) == 1


def test_tampering_with_the_audit_record_shows(store: SqlStore, connection: Any) -> None:
    for index in range(3):
        store.audit(ANNA, "deploy", f"card-fraud@{index}", "", {}, NOW)
    connection.execute("ALTER TABLE audit DISABLE TRIGGER ALL")
    connection.execute("UPDATE audit SET who = 'nobody' WHERE number = 2")
    assert store.audit_broken_at() == 2


def test_events_of_many_writers_become_visible_in_the_order_of_their_numbers(
    store: SqlStore, postgres_database: str
) -> None:
    """Somebody who reads on from the last number misses none."""
    writers = [SqlStore(postgres_database) for _ in range(3)]
    seen: list[int] = []

    def write(writer: SqlStore) -> None:
        for index in range(30):
            writer.emit([Event(NOW, "card-fraud", None, kind, str(index)) for kind in ("first", "second")])

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, writer) for writer in writers]
        while len(seen) < 180:
            seen += [one.number for one in store.events(after=seen[-1] if seen else 1, limit=1000) if one.number > 1]
            if all(one.done() for one in writing) and not store.events(after=seen[-1]):
                break
        for one in writing:
            one.result()
    for writer in writers:
        writer.close()
    assert seen == sorted(one.number for one in store.events(limit=1000))[1:]


def test_reading_goes_on_while_somebody_writes_and_a_writer_does_not_wait_for_ever(
    store: SqlStore, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.lib.postgres.LOCK_TIMEOUT_MS", 200)
    store.set_setting("a", "b")
    connection.execute(f"SELECT pg_advisory_lock({Lock.STORE:d})")
    assert store.setting("a") == "b"
    with pytest.raises(Unavailable, match="locked by another process"):
        store.set_setting("a", "c")
    connection.execute("SELECT pg_advisory_unlock_all()")
    store.set_setting("a", "c")
    assert store.setting("a") == "c"


def test_a_connection_that_the_server_has_ended_is_replaced(store: SqlStore, connection: Any) -> None:
    store.set_setting("a", "b")
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid != %s"
    connection.execute(ended, [connection.info.backend_pid])
    assert store.setting("a") == "b"
    store.set_setting("a", "c")


@pytest.mark.parametrize("change", [{"database": "missing"}, {"host": "/nowhere"}, {"username": "stranger"}])
def test_a_database_that_cannot_be_connected_to_is_told_without_the_password(
    postgres_database: str, change: dict[str, str]
) -> None:
    url = make_url(postgres_database).set(password="not-shown")
    url = url.update_query_dict(change) if "host" in change else url.set(**change)
    with pytest.raises(Unavailable, match="cannot be connected to") as away:
        SqlStore(url.render_as_string(hide_password=False))
    assert "the database exists" in (away.value.hint or "")
    assert "not-shown" not in f"{away.value}{away.value.hint}"


def test_a_user_without_rights_is_refused(store: SqlStore, connection: Any, postgres_database: str) -> None:
    connection.execute("CREATE ROLE stranger LOGIN")
    try:
        url = make_url(postgres_database).set(username="stranger").render_as_string()
        with pytest.raises(Refused, match="does not let this user"):
            SqlStore(url)
    finally:
        connection.execute("DROP ROLE stranger")


def test_a_driver_that_is_missing_is_named_with_the_extra() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from serinus.backends.sql import SqlStore\n"
        "from serinus.core.errors import Refused\n"
        "try: SqlStore('postgresql://serinus@/x')\n"
        "except Refused as error: print(error, error.hint)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "serinus[postgres]" in ran.stdout


def test_processes_that_open_a_new_database_at_once_all_get_it(postgres_database: str) -> None:
    opening = "import sys; from serinus.backends.sql import SqlStore; SqlStore(sys.argv[1]).set_setting('a', 'b')"
    processes = [subprocess.Popen([sys.executable, "-c", opening, postgres_database]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]


def test_a_store_of_a_newer_version_is_refused_in_words(
    store: SqlStore, connection: Any, postgres_database: str
) -> None:
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Refused, match=r"newer version of Serinus.*9999"):
        SqlStore(postgres_database)


BEFORE = """
DROP TABLE kept_rows;
DROP TABLE leadership;
DROP TABLE pending;
DROP INDEX rollouts_of_model, rollouts_of_version, rollouts_of_release, promoted_rollouts, rollouts_in_flight,
    orders_of_rollout, releases_of_model, events_of_model, events_of_rollout;
ALTER TABLE rollouts DROP COLUMN version, DROP COLUMN release, DROP COLUMN promoted;
ALTER TABLE events DROP COLUMN rollout;
CREATE INDEX ix_rollouts_model ON rollouts (model);
CREATE INDEX ix_orders_rollout ON orders (rollout);
CREATE INDEX ix_releases_model ON releases (model);
CREATE INDEX ix_events_model ON events (model);
UPDATE alembic_version SET version_num = '0002'
"""


def tables(connection: Any) -> list[Any]:
    columns = "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
    indexes = "SELECT tablename, indexname, indexdef FROM pg_indexes"
    found = connection.execute(f"{columns} WHERE table_schema = 'public' ORDER BY 1, 2").fetchall()
    return [*found, *connection.execute(f"{indexes} WHERE schemaname = 'public' ORDER BY 1, 2").fetchall()]


def test_migrations_run_on_it_and_one_that_fails_is_undone(
    store: SqlStore, connection: Any, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.emit([Event(NOW, "card-fraud", "card-fraud-r1", "created", "")])
    store.close()
    new = tables(connection)
    connection.execute(BEFORE)
    before = tables(connection)
    assert before != new
    with monkeypatch.context() as patch:
        patch.setattr(schema, "SCHEMA", "0002")
        SqlStore(postgres_database).close()
        assert tables(connection) == before, "there was nothing to do"
    connection.execute("ALTER TABLE schema_version RENAME TO away")
    with pytest.raises(Exception, match="cannot be read or written"):
        SqlStore(postgres_database)
    connection.execute("ALTER TABLE away RENAME TO schema_version")
    assert tables(connection) == before, "what failed half way is undone"
    SqlStore(postgres_database).close()
    assert tables(connection) == new
    assert [one.rollout for one in store.events(rollout="card-fraud-r1")] == ["card-fraud-r1"]


STOPPED = """
import os, signal, sys
from serinus.backends.sql import SqlStore
store = SqlStore(sys.argv[1])
print("begins", flush=True)
with store._database.write() as connection:
    os.kill(os.getpid(), signal.SIGSTOP)
    connection.exec_driver_sql("INSERT INTO settings (key, value) VALUES ('of', 'the stopped')")
"""


def test_a_writer_that_is_stopped_does_not_stop_the_others(store: SqlStore, postgres_database: str) -> None:
    """As on a machine that is frozen: nobody closes its connection."""
    command = [sys.executable, "-c", STOPPED, postgres_database]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        store.begin_term(1, "another one")
        process.send_signal(signal.SIGCONT)
        _, told = process.communicate(timeout=30)
        assert process.returncode != 0
        assert "Unavailable" in told
        assert store.setting("of") is None
    finally:
        process.kill()
        process.wait(10)
