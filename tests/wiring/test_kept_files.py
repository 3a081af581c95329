"""A home of an earlier version, which kept rows that a faster way answered wrong in files, is brought up."""

from __future__ import annotations

import json
import logging
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serinus.backends.sql import SqlStore
from serinus.core.home import Home
from serinus.core.kept_rows import MOST_ROWS, KeptRow
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.backup import restore, save
from serinus.wiring.kept_files import move_to_store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CARD = "4111 1111 1111 1111"


def in_file(*row: object, at: str = "2026-03-01T00:00:00Z") -> dict[str, Any]:
    """A row as the version before the table wrote it."""
    return {
        "columns": ["card", "amount"],
        "row": row,
        "score": 0.25,
        "release": "fraud-1-aaaaaa",
        "artifact": "a" * 64,
        "environment": "e" * 64,
        "at": at,
    }


def in_store(*row: object, at: datetime = NOW) -> KeptRow:
    return KeptRow(("card", "amount"), list(row), 0.25, "fraud-1-aaaaaa", "a" * 64, "e" * 64, at)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with files of rows, whose store has schema 3."""
    home = Home(tmp_path / "home")
    home.path.mkdir()
    make(home)
    chosen.save(home, Settings(ports={"api": 1, "envoy": 2, "mlflow": 3}))
    with closing(sqlite3.connect(home.store)) as database:
        database.executescript((Path(__file__).parents[1] / "backends/sql/homes/schema_3.sql").read_text())
    home.golden.mkdir(mode=0o700)
    (home.golden / "fraud.json").write_text(json.dumps([in_file(CARD, 1), in_file(None, 2.5)]))
    (home.golden / "a%2Fb.json").write_text(json.dumps([in_file("x", 3)]))
    (home.golden / "fraud.json.new").write_text("[")  # of a writer that was killed
    return home


@pytest.fixture
def store(home: Home) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{home.store}")) as store:
        yield store


def test_the_rows_in_the_files_are_in_the_store_from_then_on(home: Home, store: SqlStore) -> None:
    for _ in range(2):
        move_to_store(home, store)
        assert store.models_with_kept_rows() == ["a/b", "fraud"]
        assert store.kept_rows("fraud") == [in_store(CARD, 1), in_store(None, 2.5)]
        assert store.kept_rows("a/b") == [in_store("x", 3)]
        assert not home.golden.exists()
    champion = store.model("fraud").champion
    assert champion is not None, "and all that the store had"


def test_rows_of_several_homes_come_together_and_stay_bounded(home: Home, store: SqlStore) -> None:
    later = NOW + timedelta(days=1)
    store.keep_rows("fraud", [in_store(CARD, 1, at=later)])
    move_to_store(home, store)
    assert store.kept_rows("fraud") == [in_store(None, 2.5), in_store(CARD, 1, at=later)]
    home.golden.mkdir()
    (home.golden / "fraud.json").write_text(json.dumps([in_file("y", number) for number in range(MOST_ROWS)]))
    move_to_store(home, store)
    found = store.kept_rows("fraud")
    assert (len(found), found[-1]) == (MOST_ROWS, in_store(CARD, 1, at=later))


@pytest.mark.parametrize("content", ["[", "{}1", '[{"row": ["4111 1111 1111 1111"]}]', "[" * 100_000, "7", '["card"]'])
def test_a_damaged_file_is_named_and_left_and_no_value_of_it_is_told(
    home: Home, store: SqlStore, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = home.golden / "damaged.json"
    file.write_text(content)
    with caplog.at_level(logging.INFO):
        move_to_store(home, store)
    assert f"{file} cannot be read" in caplog.text
    assert CARD not in caplog.text
    assert file.read_text() == content
    assert store.models_with_kept_rows() == ["a/b", "fraud"]


def test_what_was_moved_before_the_process_was_killed_is_moved_once(
    home: Home, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(_: Path) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(Killed):
            move_to_store(home, store)
    assert store.models_with_kept_rows() == ["a/b"]
    move_to_store(home, store)
    assert store.kept_rows("a/b") == [in_store("x", 3)]
    assert len(store.kept_rows("fraud")) == 2


def test_a_backup_has_the_rows_before_and_after_they_are_moved(home: Home, store: SqlStore, tmp_path: Path) -> None:
    for name, moved in (("first", False), ("second", True)):
        if moved:
            move_to_store(home, store)
        there = Home(tmp_path / name)
        restore(save(home, tmp_path / f"{name}.backup").path, there)
        assert there.golden.exists() is not moved
        open_to_others = [path for path in there.path.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]
        assert open_to_others == []
        with closing(SqlStore(f"sqlite:///{there.store}")) as restored:
            move_to_store(there, restored)
            assert restored.kept_rows("fraud") == [in_store(CARD, 1), in_store(None, 2.5)]
