"""What a version tries before it takes over: in a process of its own, and nothing that is there changes."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serinus.backends.sql import SqlStore
from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.core.kept_rows import KeptRow
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.launching import rehearse
from serinus.targets.local.supervisor.settings import Settings

pytestmark = pytest.mark.long


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    make(home)
    chosen.save(home, Settings(ports={"api": 1, "envoy": 2, "mlflow": 3}))
    store = SqlStore(f"sqlite:///{home.store}")
    store.set_setting("one", "kept")
    store.close()
    return home


def there(home: Home) -> set[str]:
    return {path.name for path in home.path.iterdir() if not path.name.startswith("store.db-")}


def test_a_store_that_this_version_reads_is_copied_and_stays_as_it_is(home: Home) -> None:
    before = there(home)
    rehearse(home)
    assert there(home) - before == {"store-before.db"}
    assert stat.S_IMODE(home.store_before.stat().st_mode) == 0o600
    for path in (home.store, home.store_before):
        store = SqlStore(f"sqlite:///{path}")
        assert store.setting("one") == "kept"
        store.close()


def test_the_copy_has_no_rows_of_callers_because_it_outlives_the_age_at_which_they_go(home: Home) -> None:
    secret = "4111 1111 1111 1111" * 1000
    row = KeptRow(("card",), [secret], 0.5, "fraud-1-aaaaaa", "a", "e", datetime(2026, 3, 1, tzinfo=UTC))
    with closing(SqlStore(f"sqlite:///{home.store}")) as store:
        store.keep_rows("fraud", [row])
    rehearse(home)
    assert secret[:100].encode() not in home.store_before.read_bytes()
    for path, rows in ((home.store, [row]), (home.store_before, [])):
        with closing(SqlStore(f"sqlite:///{path}")) as store:
            assert (store.kept_rows("fraud"), store.setting("one")) == (rows, "kept")


def test_a_store_of_a_newer_version_is_refused_in_words_before_anything_is_replaced(home: Home) -> None:
    with closing(sqlite3.connect(home.store)) as database, database:
        database.execute("UPDATE schema_version SET version = 99")
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if "alembic_version" in tables:
            database.execute("UPDATE alembic_version SET version_num = 'of a newer version'")
    home.store_before.write_text("of the version before")
    with pytest.raises(Unavailable, match=r"nothing was replaced: .*version of Serinus"):
        rehearse(home)
    assert home.store_before.read_text() == "of the version before"


def test_what_cannot_be_read_is_said_in_its_own_words(home: Home) -> None:
    home.store.write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match=r"nothing was replaced: .*not a database"):
        rehearse(home)


def test_the_migration_of_an_older_store_is_tried_on_a_copy(home: Home) -> None:
    home.store.unlink()
    with closing(sqlite3.connect(home.store)) as database:
        database.executescript((Path(__file__).parents[1] / "backends/sql/homes/schema_2.sql").read_text())
    rehearse(home)
    for path in (home.store, home.store_before):
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT version FROM schema_version").fetchall() == [(2,)]
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            assert "alembic_version" not in names, "it is as the version before has left it"


def test_a_migration_that_fails_is_found_before_anything_is_replaced(home: Home) -> None:
    home.store.unlink()
    with closing(sqlite3.connect(home.store)) as database:
        database.executescript((Path(__file__).parents[1] / "backends/sql/homes/schema_2.sql").read_text())
        database.execute("DROP TABLE rollouts")
    with pytest.raises(Unavailable, match=r"nothing was replaced: .*rollouts"):
        rehearse(home)
    assert not home.store_before.exists()
