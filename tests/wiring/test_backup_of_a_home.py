"""A home with everything in it but processes: saved, and restored in another place."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serinus.backends.envoy import names, prepare, xds
from serinus.backends.git import GitFleet
from serinus.backends.sql import SqlStore
from serinus.core.errors import InvalidInput, Refused, Unavailable
from serinus.core.home import Home
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import ModelState
from serinus.core.routing import Arm, Role, Routing
from serinus.lib import files
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.backup import restore, save, sqlite

RELEASE = "fraud-1-aaaaaa"


def release() -> Release:
    return Release(
        id=RELEASE,
        model="fraud",
        version="1",
        artifact_digest="digest",
        environment_digest="e",
        settings=ServingSettings(),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def routing_in(home: Home) -> Routing:
    arm = Arm(RELEASE, 10_000, Role.CHAMPION, str(home.release_socket(RELEASE)))
    return Routing("fraud", (arm,), split="s1", salt="r1", timeout_ms=1000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "first" / "with a 'quote'")
    home.path.mkdir(parents=True)
    make(home)
    chosen.save(home, Settings(ports={"api": 1, "envoy": 2, "mlflow": 3}))
    home.token.write_text("the token")
    store = SqlStore(f"sqlite:///{home.store}")
    store.add_release(release())
    store.save_model(ModelState("fraud", champion=release()))
    store.close()
    GitFleet(home.fleet).write("fraud", "model: fraud\n", who="ann", why="a test")
    prepare(home, port=2)
    clusters = {RELEASE: str(home.release_socket(RELEASE))}
    names.clusters_file(home).write_text(xds.render_clusters(clusters))
    routes = xds.Routes({"fraud": routing_in(home)})
    names.routes_file(home).write_text(xds.render_routes(routes, names.key_of(home)))
    for name in ("artifacts/digest/model.pkl", "artifacts/.incoming/half", "compiled/c/model.onnx", "tls/server.pem"):
        (home.path / name).parent.mkdir(parents=True, exist_ok=True)
        (home.path / name).write_text(name)
    more = ("environments/resolved/q.txt", "environments/e/lib/large.so", "mlflow/artifacts/0/m", "logs/x.log")
    for name in (*more, "compiled/locks/q.lock"):
        (home.path / name).parent.mkdir(parents=True, exist_ok=True)
        (home.path / name).write_text(name)
    (home.artifacts / "link").symlink_to("/etc/passwd")
    (home.artifacts / "digest/model.pkl").chmod(0o444)
    (home.compiled / "locks/q.lock").chmod(0o200)  # as whoever asks for a graph makes it
    with closing(sqlite3.connect(home.mlflow / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE versions (name)")
    return home


def saved(home: Home) -> Path:
    return save(home, home.path.parent.parent / "backup").path


def texts(home: Home) -> dict[str, bytes]:
    files = [path for path in home.path.rglob("*") if path.is_file() and path.stat().st_mode & 0o400]
    return {path.relative_to(home.path).as_posix(): path.read_bytes() for path in files}


def test_a_home_is_restored_elsewhere_and_its_paths_lead_there(home: Home, tmp_path: Path) -> None:
    path = saved(home)
    shutil.rmtree(home.path)
    there = Home(tmp_path / "second" / "home")
    restore(path, there)
    store = SqlStore(f"sqlite:///{there.store}")
    assert store.model("fraud").champion == release()
    assert store.releases() == [release()]
    store.close()
    assert GitFleet(there.fleet).read("fraud") == "model: fraud\n"
    assert GitFleet(there.fleet).history("fraud")[0].who == "ann"
    assert xds.read_routes(names.routes_file(there)).routings == {"fraud": routing_in(there)}
    assert xds.read_clusters(names.clusters_file(there)) == {RELEASE: str(there.release_socket(RELEASE))}
    found = texts(there)
    for name in ("artifacts/digest/model.pkl", "compiled/c/model.onnx", "tls/server.pem", "mlflow/artifacts/0/m"):
        assert found[name] == name.encode()
    assert found["environments/resolved/q.txt"] == b"environments/resolved/q.txt"
    assert found["token"] == b"the token"
    assert {"secret", "mlflow-password", "mlflow/mlflow.db"} <= found.keys()
    left_out = ("large.so", "logs/", "half", "link", "locks/q")
    assert [name for name in found if any(part in name for part in left_out)] == []
    assert str(home.path).encode() not in b"".join(found.values())
    assert chosen.load(there) == Settings(ports={"api": 1, "envoy": 2, "mlflow": 3})


def test_nobody_else_may_read_what_is_restored(home: Home, tmp_path: Path) -> None:
    path = saved(home)
    with files.umask(0):
        restore(path, Home(tmp_path / "there"))
    open_to_others = [path for path in (tmp_path / "there").rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert open_to_others == []
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "there/artifacts/digest/model.pkl").stat().st_mode) == 0o400


def test_a_store_that_is_written_meanwhile_is_saved_as_it_was_at_one_moment(home: Home, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        store, number = SqlStore(f"sqlite:///{home.store}"), 0
        while not stop.is_set():
            number += 1
            for model in ("one", "two"):
                store.set_setting(model, str(number))
        store.close()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for attempt in range(5):
            path = save(home, tmp_path / f"backup-{attempt}").path
            there = Home(tmp_path / f"home-{attempt}")
            restore(path, there)
            store = SqlStore(f"sqlite:///{there.store}")
            one, two = int(store.setting("one") or 0), int(store.setting("two") or 0)
            store.close()
            assert one in (two, two + 1)
    finally:
        stop.set()
        writing.join()


def test_a_directory_in_which_something_is_stays_as_it_is(home: Home, tmp_path: Path) -> None:
    path = saved(home)
    there = tmp_path / "there"
    there.mkdir()
    (there / "precious").write_text("mine")
    with pytest.raises(Refused, match="already exists"):
        restore(path, Home(there))
    assert [entry.name for entry in there.iterdir()] == ["precious"]


def test_what_is_no_backup_leaves_nothing(home: Home, tmp_path: Path) -> None:
    whole = saved(home).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.iterdir())
    for path in (tmp_path / "cut", tmp_path / "nowhere"):
        with pytest.raises(InvalidInput):
            restore(path, Home(tmp_path / "there"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_nothing(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(home)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before, inside = sorted(tmp_path.iterdir()), texts(home)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left on device"):
            restore(path, Home(tmp_path / "there"))
        with pytest.raises(Unavailable, match="No space left on device"):
            save(home, tmp_path / "another")
    assert sorted(tmp_path.iterdir()) == before
    assert texts(home) == inside


def test_a_backup_is_not_written_into_its_home_nor_of_what_is_none(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is inside the home"):
        save(home, home.path / "backup")
    with pytest.raises(Refused, match="is not a Serinus home"):
        save(Home(tmp_path / "nowhere"), tmp_path / "backup")
    with pytest.raises(InvalidInput, match="directory"):
        save(home, tmp_path)


def test_a_database_is_copied_with_what_is_not_yet_in_its_main_file(tmp_path: Path) -> None:
    source = tmp_path / "is #1?.db"
    with closing(sqlite3.connect(source)) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("CREATE TABLE t (x)")
        writing.execute("INSERT INTO t VALUES (1)")
        writing.commit()
        sqlite.copy(source, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as reading:
        assert reading.execute("SELECT x FROM t").fetchall() == [(1,)]
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("copy.db-*")), "all of it is in one file"
