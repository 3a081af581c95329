"""What is SQLite's own: a home of another version, a full disk, tampering, death in the middle of a write."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from serinus.backends.sql import SqlStore
from serinus.core.errors import Refused, Unavailable
from serinus.core.events import Event
from serinus.core.kept_rows import KeptRow
from serinus.core.people import Access, Actor

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANNA = Actor("anna", Access.DEPLOY, "cli")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(file: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{file}")
    yield store
    store.close()


@pytest.fixture
def audited(store: SqlStore) -> SqlStore:
    for index in range(5):
        store.audit(ANNA, "deploy", f"card-fraud@{index}", "", {}, NOW)
    return store


def tamper(file: Path, *statements: str) -> None:
    """As somebody with write access to the file would."""
    with sqlite3.connect(file) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


UNLOCK = ("DROP TRIGGER audit_refuses_UPDATE", "DROP TRIGGER audit_refuses_DELETE")


def test_the_database_itself_refuses_to_change_or_remove_an_audit_entry(audited: SqlStore, file: Path) -> None:
    for statement in ("UPDATE audit SET who = 'nobody' WHERE number = 2", "DELETE FROM audit WHERE number = 5"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            tamper(file, statement)
    assert audited.audit_broken_at() is None


@pytest.mark.parametrize(
    ("statement", "first_wrong"),
    [
        ("UPDATE audit SET who = 'nobody' WHERE number = 2", 2),
        ("UPDATE audit SET details = '{\"a\":1}' WHERE number = 4", 4),
        ("DELETE FROM audit WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number > 3", 4),
        ("DELETE FROM audit", 1),
        ("UPDATE audit_head SET digest = 'x'", 5),
        ("UPDATE audit_head SET entries = 4", 5),
        ("DELETE FROM audit_head", 6),
    ],
)
def test_tampering_with_the_audit_record_shows_where_it_starts(
    audited: SqlStore, file: Path, statement: str, first_wrong: int
) -> None:
    tamper(file, *UNLOCK, statement)
    assert audited.audit_broken_at() == first_wrong


def test_a_file_that_is_no_database_is_refused_in_words(file: Path) -> None:
    file.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(Refused, match="not a readable SQLite database"):
        SqlStore(f"sqlite:///{file}")


def test_a_store_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read or written"):
        SqlStore(f"sqlite:///{tmp_path / 'missing' / 'store.db'}")


@pytest.fixture
def small_disk() -> Iterator[None]:
    """SQLite's own limit on a database's size fails exactly as a full disk does (SQLITE_FULL)."""

    def limit(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 60").close()

    event.listen(Engine, "connect", limit)
    yield
    event.remove(Engine, "connect", limit)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_said_and_loses_nothing(store: SqlStore) -> None:
    def fill() -> None:
        for _ in range(1000):
            store.emit([Event(NOW, "card-fraud", None, "noise", "x" * 2000)])

    store.audit(ANNA, "deploy", "card-fraud@1", "", {}, NOW)
    with pytest.raises(Unavailable, match="is full: nothing was written") as refusal:
        fill()
    assert refusal.value.delay > 0
    kept = store.events(limit=1000)
    assert kept
    assert [one.number for one in kept] == list(range(1, len(kept) + 1)), "nothing acknowledged is missing"
    with pytest.raises(Unavailable):
        store.audit(ANNA, "deploy", "card-fraud@2", "y" * 100_000, {}, NOW)
    assert store.audit_broken_at() is None
    assert store.tokens() == [], "reading goes on"


def test_secrets_are_not_in_the_file(store: SqlStore, file: Path) -> None:
    secret = store.issue_token("anna", Access.ADMIN, NOW)
    store.close()
    assert secret[4:].encode() not in file.read_bytes()


WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from serinus.backends.sql import SqlStore
from serinus.core.events import Event
from serinus.core.kept_rows import KeptRow
from serinus.core.people import Access, Actor

now = datetime(2026, 3, 1, tzinfo=UTC)
store = SqlStore(sys.argv[1])
for index in range(100_000):
    store.audit(Actor("anna", Access.DEPLOY), "act", str(index), "", {}, now)
    store.emit([Event(now, "card-fraud", None, kind, str(index)) for kind in ("first", "second")])
    print(index, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 20])
def test_a_writer_killed_in_the_middle_loses_nothing_acknowledged_and_leaves_a_whole_chain(
    file: Path, acknowledged: int
) -> None:
    url = f"sqlite:///{file}"
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged):
            seen = int(writer.stdout.readline())
        writer.kill()
    store = SqlStore(url)
    assert store.audit_broken_at() is None
    assert len(store.audit_trail()) > seen
    kinds = [one.kind for one in store.events(limit=10_000)]
    assert kinds == ["first", "second"] * (len(kinds) // 2), "events of one call come together"
    assert len(kinds) >= 2 * (seen + 1)
    store.audit(ANNA, "act", "after", "", {}, NOW)
    assert store.audit_broken_at() is None
    store.close()


def test_two_processes_that_open_a_new_home_at_once_both_get_it(file: Path) -> None:
    opening = "import sys; from serinus.backends.sql import SqlStore; SqlStore(sys.argv[1]).set_setting('a', 'b')"
    command = [sys.executable, "-c", opening, f"sqlite:///{file}"]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]


def test_reading_goes_on_while_somebody_writes(store: SqlStore, file: Path) -> None:
    store.set_setting("a", "b")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE settings SET value = 'c'")
    assert store.setting("a") == "b"
    other.execute("COMMIT")
    other.close()
    assert store.setting("a") == "c"


CARD = "4111 1111 1111 1111" * 1000
"""It takes pages of its own."""


def kept_row(*values: object) -> KeptRow:
    return KeptRow(tuple(map(str, range(len(values)))), list(values), 0.1, "fraud-1-aaaaaa", "a", "e", NOW)


def test_rows_that_are_forgotten_are_gone_from_the_file(store: SqlStore, file: Path) -> None:
    store.keep_rows("fraud", [kept_row(CARD), kept_row(1)])
    store.close()
    assert CARD[:100].encode() in file.read_bytes()
    store.forget_rows("fraud", NOW + timedelta(days=1))
    store.close()
    assert CARD[:100].encode() not in file.read_bytes()
    with store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1


def test_a_row_that_cannot_be_kept_is_not_quoted_by_the_error(store: SqlStore, file: Path) -> None:
    tamper(file, "CREATE TRIGGER broken BEFORE INSERT ON kept_rows BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END")
    with pytest.raises(Exception, match="the disk is gone") as raised:
        store.keep_rows("fraud", [kept_row(CARD)])
    told = "".join(traceback.format_exception(raised.value))
    assert "INSERT INTO kept_rows" in told
    assert CARD[:19] not in told
