"""A store of an earlier version is brought up to date in place; a newer one is refused; nothing is left half done."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from serinus.backends.sql import SqlStore
from serinus.backends.sql.schema import MIGRATIONS
from serinus.backends.sql.tables import SCHEMA, metadata
from serinus.core.errors import Refused
from serinus.core.people import Access, Actor
from serinus.core.release import CacheSettings, Compiled, Release, Scale, ServingSettings, WarmHours
from serinus.core.rollout import Cause, Kind, Phase

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SECRET = "srn_" + "hJPX56a9I-sUmpmFmjXI5o2rkq1g7fvjeQJl-Al7JyA"
"""Of the kept home's token `admin`, which opens nothing else."""


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.executescript(statement)


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


@contextmanager
def opened(file: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{file}")) as store:
        yield store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The file of a store with schema 2."""
    file = tmp_path / "store.db"
    execute(file, (Path(__file__).parent / "homes" / "schema_2.sql").read_text())
    return file


@pytest.fixture
def home_of_paths(tmp_path: Path) -> Path:
    """The file of a store with schema 3, of which releases have paths."""
    file = tmp_path / "store.db"
    execute(file, (Path(__file__).parent / "homes" / "schema_3.sql").read_text())
    return file


def holds(store: SqlStore) -> None:
    """All that the kept home had."""
    assert store.audit_broken_at() is None
    assert [entry.what for entry in store.audit_trail()][:3] == ["promote", "promote", "abort"]
    assert store.whose_token(SECRET) is not None
    assert {token["name"]: token["revoked_at"] is None for token in store.tokens()} == {
        "admin": True,
        "anna": False,
        "payments": True,
    }
    ended = [(one.version, one.status.phase, one.status.cause) for one in store.rollouts(limit=4)[1:]]
    assert ended == [
        ("8", Phase.ABORTED, Cause.OPERATOR),
        ("7", Phase.PROMOTED, Cause.NONE),
        ("6", Phase.PROMOTED, Cause.NONE),
    ]
    champion = store.model("fraud").champion
    assert champion is not None
    assert champion.version == "7"
    assert [release.version for release in store.releases("fraud")] == ["9", "8", "7", "6"]


def test_a_home_of_the_version_before_migrations_is_brought_up_in_place(home: Path) -> None:
    for _ in range(2):  # and it is brought up once
        with opened(home) as store:
            holds(store)
            (flying,) = store.in_flight("fraud")
            assert (flying.id, flying.status.phase) == ("fraud-r4", Phase.CANARY)
            assert [order.kind for order in store.orders(flying.id)] == ["supersede"]
            (waiting,) = store.pending()
            assert (waiting.id, waiting.version, waiting.kind) == ("fraud-r5", "10", Kind.DEPLOY)
            assert store.setting("pending") is None
            assert store.setting("pending.fraud") is None


def test_releases_with_paths_become_the_same_releases_with_digests(home_of_paths: Path) -> None:
    for _ in range(2):
        with opened(home_of_paths) as store:
            assert store.audit_broken_at() is None
            state, (flying,), (waiting,) = store.model("fraud"), store.in_flight("fraud"), store.pending()
            assert (flying.version, flying.status.phase, waiting.version) == ("3", Phase.CANARY, "4")
            assert flying.artifact is not None
            assert flying.artifact.digest == "artifact-3"
            retired = store.model("scoring").retired
            assert retired is not None
            found = [retired.release, state.champion, state.previous, flying.candidate, *store.releases()]
            assert all(isinstance(one, Release) for one in found)
            graphs = {one.version: one.compiled for one in found if one is not None}
            compiled = {v: Compiled(f"graph-{v}", "onnx-environment") for v in ("1", "2", "3")}
            assert graphs == {**compiled, "4": None}
            assert {one.environment_digest for one in found if one is not None} == {"environment-1"}
            assert flying.candidate in store.releases()
            assert state.champion in store.releases()
    with closing(sqlite3.connect(home_of_paths)) as connection:
        assert not [line for line in connection.iterdump() if "/srv/serinus" in line]


def test_scale_is_apart_from_settings_and_stays_what_it_was(home_of_paths: Path) -> None:
    hours = (WarmHours(450, 1320, (0, 4), "Europe/Berlin"),)
    wanted = Scale(3, False, hours, 2 << 30, 1.5, 32 << 20)
    settings = ServingSettings(timeout_ms=400, cache=CacheSettings(120.0))
    with opened(home_of_paths) as store:
        state, (flying,), retired = store.model("fraud"), store.in_flight("fraud"), store.model("scoring")
        assert (state.scale, retired.scale) == (wanted, Scale(keep_warm=True))
        assert flying.plan is not None
        assert (flying.plan.scale, flying.plan.settings) == (wanted, settings)
        assert {one.settings for one in store.releases("fraud")} == {settings}
        assert state.champion is not None
        assert state.champion.settings == settings
        ended = [one.plan.scale for one in store.rollouts("fraud") if one.plan is not None]
        assert set(ended) == {wanted}


def test_a_release_keeps_its_id_when_its_home_is_brought_up(home_of_paths: Path) -> None:
    with closing(sqlite3.connect(home_of_paths)) as connection:
        before = connection.execute("SELECT id FROM releases ORDER BY number DESC").fetchall()
    with opened(home_of_paths) as store:
        assert [one.id for one in store.releases()] == [one for (one,) in before]


def test_what_was_there_before_is_found_by_what_is_searched_for_now(home: Path) -> None:
    with opened(home) as store:
        assert [one.version for one in store.rollouts("fraud", promoted=True)] == ["7", "6"]
        assert [one.id for one in store.rollouts("fraud", version="8")] == ["fraud-r3"]
        champion = store.model("fraud").champion
        assert champion is not None
        assert [one.id for one in store.rollouts(release=champion.id)] == ["fraud-r2"]
        kinds = [one.kind for one in store.events(rollout="fraud-r3")]
        assert kinds[0] == "created"
        assert kinds[-1] == "aborted"
        assert {one.rollout for one in store.events(rollout="fraud-r3")} == {"fraud-r3"}


def test_a_home_of_the_version_before_owners_is_brought_up_in_place(home: Path) -> None:
    execute(
        home,
        "ALTER TABLE tokens DROP COLUMN owner; ALTER TABLE tokens DROP COLUMN models;"
        "UPDATE schema_version SET version = 1",
    )
    for _ in range(2):
        with opened(home) as store:
            holds(store)
            assert store.whose_token(SECRET) == Actor("admin", Access.ADMIN, owner="admin")
            assert {token["owner"] for token in store.tokens()} == {"admin", "anna", "payments"}
            assert store.token("payments", plane="data") == store.tokens()[2]
    with opened(home) as store:
        assert store.own_token("admin", "anna@bank")
        assert not store.own_token("admin", "bert@bank"), "an owner is given once"
        assert store.whose_token(SECRET) == Actor("admin", Access.ADMIN, owner="anna@bank")


@pytest.mark.parametrize(
    "newer",
    [
        "UPDATE alembic_version SET version_num = '9999'",
        "DROP TABLE alembic_version; UPDATE schema_version SET version = 99",
    ],
)
def test_a_home_of_a_newer_version_is_refused_in_words_and_left_alone(home: Path, newer: str) -> None:
    with opened(home):
        pass
    execute(home, newer)
    before = dump(home)
    with pytest.raises(Refused, match=r"newer version of Serinus.*99") as refusal:
        SqlStore(f"sqlite:///{home}")
    assert "--home" in refusal.value.hint
    assert dump(home) == before


def test_the_version_before_migrations_refuses_a_home_that_was_brought_up(home: Path) -> None:
    """It knows the numbers 1 and 2, and makes its tables where it finds no number."""
    with opened(home):
        pass
    with closing(sqlite3.connect(home)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(3,)]


BROKEN = """
CREATE TRIGGER broken BEFORE DELETE ON settings WHEN OLD.key = 'pending'
BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END
"""


def test_an_upgrade_that_fails_half_way_leaves_the_home_as_it_was(home: Path) -> None:
    execute(home, BROKEN)
    before = dump(home)
    with pytest.raises(Exception, match="the disk is gone"):
        SqlStore(f"sqlite:///{home}")
    assert dump(home) == before
    execute(home, "DROP TRIGGER broken")
    with opened(home) as store:
        holds(store)


KILLED = """
import os, sys
from sqlalchemy import Engine, event
from serinus.backends.sql import SqlStore

def dies(connection, cursor, statement, *rest):
    if statement.startswith(sys.argv[2]):
        os._exit(9)

event.listen(Engine, "after_cursor_execute", dies)
SqlStore(sys.argv[1])
"""


@pytest.mark.parametrize("at", ["CREATE TABLE pending", "UPDATE events", "DROP INDEX", "UPDATE schema_version"])
def test_an_upgrade_that_is_killed_leaves_the_home_as_it_was(home: Path, at: str) -> None:
    before = dump(home)
    # Alembic begins a statement that makes something with an empty line.
    ran = subprocess.run(
        [sys.executable, "-c", KILLED.replace("statement.s", "statement.strip().s"), f"sqlite:///{home}", at],
        check=False,
    )
    assert ran.returncode == 9, "the statement was not reached"
    assert dump(home) == before
    with opened(home) as store:
        holds(store)


def test_several_processes_that_open_a_home_to_bring_up_all_get_it(home: Path) -> None:
    opening = "import sys; from serinus.backends.sql import SqlStore; SqlStore(sys.argv[1]).set_setting('a', 'b')"
    processes = [subprocess.Popen([sys.executable, "-c", opening, f"sqlite:///{home}"]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    with opened(home) as store:
        holds(store)


def test_a_home_that_was_brought_up_has_the_tables_of_a_new_one(home: Path, tmp_path: Path) -> None:
    with opened(home), opened(tmp_path / "new.db"):
        pass
    for file in (home, tmp_path / "new.db"):
        engine = create_engine(f"sqlite:///{file}")
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, metadata) == []
            assert context.get_current_revision() == SCHEMA
        engine.dispose()
    made = "SELECT type, name, tbl_name, CASE type WHEN 'index' THEN sql END FROM sqlite_master ORDER BY type, name"
    columns = (
        "SELECT m.name, c.* FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1, 3"
    )
    found = []
    for file in (home, tmp_path / "new.db"):
        with closing(sqlite3.connect(file)) as connection:
            names = connection.execute(made).fetchall()
            rows = [(*row[:1], *row[2:]) for row in connection.execute(columns)]  # without the place in the table
            found.append((names, rows))
    assert found[0] == found[1]


def test_the_migrations_end_at_the_schema_of_the_tables() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


def test_a_home_that_is_up_to_date_imports_no_migrations(home: Path) -> None:
    with opened(home):
        pass
    opening = (
        "import sys; from serinus.backends.sql import SqlStore; SqlStore(sys.argv[1]); SqlStore(sys.argv[2]);"
        "assert 'alembic' not in sys.modules"
    )
    command = [sys.executable, "-c", opening, f"sqlite:///{home}", f"sqlite:///{home.with_name('new.db')}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_home_from_before_terms_has_none_and_takes_one(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with opened(file) as store:
        store.set_setting("kept", "yes")
    execute(file, "DROP TABLE kept_rows; DROP TABLE leadership; UPDATE alembic_version SET version_num = '0005'")
    with opened(file) as store:
        assert store.last_term() == (0, "")
        store.begin_term(1, "a")
    with opened(file) as store:
        assert (store.last_term(), store.setting("kept")) == ((1, "a"), "yes")
