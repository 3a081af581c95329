"""`serinus store copy`: from the home of one machine, or a backup of it, to a PostgreSQL server with a password, and
back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import databases
import pytest
from cli_harness import Serinus

from serinus.backends.sql import SqlStore
from serinus.core.home import Home
from serinus.core.people import Access, Actor
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import ModelState
from serinus.lib import processes
from serinus.targets.local.supervisor import directories, settings, state
from serinus.targets.local.supervisor.settings import Settings

pytest.importorskip("psycopg")

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with databases.running("127.0.0.1") as server:
        yield server.address


@pytest.fixture
def url_file(server: str, tmp_path: Path) -> Iterator[Path]:
    with databases.new_database(server) as url:
        (tmp_path / "store-url").write_text(f"{url}\n")
        yield tmp_path / "store-url"


def made(path: Path) -> Home:
    home = Home(path)
    home.path.mkdir()
    directories.make(home)
    settings.save(home, Settings(ports={"api": 1, "envoy": 2, "mlflow": 3}))
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With a champion, a token and an entry of the audit record."""
    home = made(tmp_path / "home")
    with closing(SqlStore(f"sqlite:///{home.store}")) as store:
        release = Release("fraud-1-abcdef", "fraud", "1", "a", "e", ServingSettings(), NOW)
        store.add_release(release)
        store.save_model(ModelState("fraud", champion=release))
        home.token.write_text(store.issue_token("admin", Access.ADMIN, NOW))
        store.audit(Actor("ada", Access.ADMIN, "cli"), "deploy", "fraud@1", "", {}, NOW)
    return home


def holds(url: str, home: Home) -> None:
    with closing(SqlStore(url)) as store:
        assert store.model("fraud").champion == store.releases()[0]
        assert store.audit_broken_at() is None
        assert [entry.who for entry in store.audit_trail()] == ["ada"]
        admin = store.whose_token(home.token.read_text())
        assert admin is not None
        assert admin.access is Access.ADMIN


def test_a_store_goes_to_postgresql_and_back_and_no_password_is_left_anywhere(
    serinus: Serinus, home: Home, url_file: Path, tmp_path: Path
) -> None:
    there = serinus("store", "copy", str(home.path), str(url_file))
    assert there.code == 0, there.err
    assert "audit       1\n" in there.out
    holds(url_file.read_text().strip(), home)
    other = made(tmp_path / "other")
    back = serinus("store", "copy", str(url_file), str(other.path), "--json")
    assert back.code == 0, back.err
    assert back.json["rows"]["tokens"] == 1
    holds(f"sqlite:///{other.store}", home)
    assert other.store.stat().st_mode & 0o777 == 0o600
    refused = serinus("store", "copy", str(home.path), str(url_file))
    assert refused.code == 1
    assert "on 127.0.0.1 is not empty" in refused.err
    said = "".join(f"{one.out}{one.err}" for one in (there, back, refused))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != url_file)
    assert databases.PASSWORD not in said
    assert databases.PASSWORD.encode() not in written


def test_a_backup_is_copied_without_being_restored(
    serinus: Serinus, home: Home, url_file: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    assert serinus("backup", str(backup), "--home", str(home.path)).code == 0
    said = serinus("store", "copy", str(backup), str(url_file))
    assert said.code == 0, said.err
    holds(url_file.read_text().strip(), home)
    assert serinus("store", "copy", str(url_file), str(backup)).code == 2, "it is no place for a store"
    backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])
    damaged = serinus("store", "copy", str(backup), str(url_file))
    assert "is not a complete backup" in damaged.err


def test_a_home_that_runs_is_refused_as_either(serinus: Serinus, home: Home, url_file: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other")
    assert serinus("store", "copy", str(home.path), str(url_file)).code == 0
    me = processes.look(os.getpid())
    assert me is not None
    for running, source, destination in ((home, home.path, other.path), (other, url_file, other.path)):
        state.write(running, state.ProcessRecord("control", state.RUNNING, me.pid, me.identity))
        said = serinus("store", "copy", str(source), str(destination))
        assert said.code == 1
        assert f"Serinus runs in {running.path}" in said.err
        assert f"serinus down --home {running.path}" in said.err
        state.forget(running, "control")
    assert not other.store.exists()


def test_a_home_that_is_being_started_is_refused(serinus: Serinus, home: Home, url_file: Path) -> None:
    with directories.one_at_a_time(home, 0, print):
        said = serinus("store", "copy", str(home.path), str(url_file))
    assert said.code == 1
    assert f"Serinus runs in {home.path}" in said.err


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_no_store_is_named_with_the_next_step(
    serinus: Serinus, home: Home, url_file: Path, tmp_path: Path, turned: bool
) -> None:
    empty, text, gone = tmp_path / "empty", tmp_path / "text", tmp_path / "gone"
    empty.mkdir()
    text.write_text("mysql://a:hidden@b/c")
    for wrong, words in (
        (empty, "is not a Serinus home" if turned else "has no store"),
        (text, "does not hold the URL of a PostgreSQL database"),
        (gone, "cannot be read from"),
    ):
        said = serinus("store", "copy", *([str(url_file), str(wrong)] if turned else [str(wrong), str(url_file)]))
        assert said.code in (1, 2)
        assert f"{wrong}" in said.err
        assert words in said.err
        assert "hidden" not in said.err
    away = tmp_path / "away"
    away.write_text(f"postgresql://serinus:{databases.PASSWORD}@127.0.0.1:1/store")
    said = serinus("store", "copy", *([str(home.path), str(away)] if turned else [str(away), str(home.path)]))
    assert "cannot be connected to" in said.err
    assert databases.PASSWORD not in said.err
