"""What can be made again is removed whole, unless it was asked for meanwhile; a kill leaves nothing in its place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from serinus_runtime.model.compiled import FILES

from serinus.backends.mlflow import MlflowRegistry
from serinus.backends.onnx import OnnxCompiler
from serinus.backends.onnx.kept import Kept
from serinus.backends.uv import UvEnvironments
from serinus.core.home import ENVIRONMENT_FACTS, Home
from serinus.core.storage import Storage
from serinus.targets.local.host.logs import ReleaseLogs, log_path

DIGESTS = ("a" * 64, "b" * 64)


class Setting(NamedTuple):
    storage: Storage
    names: tuple[str, str]
    """Of what is there."""
    root: Path


def environments(home: Home) -> Setting:
    for digest in DIGESTS:
        (home.environments / digest / "lib").mkdir(parents=True)
        (home.environments / digest / "lib" / "module.py").write_text("x = 1\n")
        (home.environments / digest / ENVIRONMENT_FACTS).write_text("{}")
    (home.environments / "resolved").mkdir()
    return Setting(UvEnvironments(home.environments), DIGESTS, home.environments)


def artifacts(home: Home) -> Setting:
    for digest in DIGESTS:
        (home.artifacts / digest / "data").mkdir(parents=True)
        (home.artifacts / digest / "data" / "model.pkl").write_bytes(b"model")
        (home.artifacts / digest / "data" / "model.pkl").chmod(0o444)
    (home.artifacts / ".versions").mkdir()
    return Setting(MlflowRegistry("http://127.0.0.1:9", home.artifacts), DIGESTS, home.artifacts)


def graphs(home: Home) -> Setting:
    kept = Kept(home.compiled)
    digests = []
    for text in ("one", "other"):
        source = home.path / text
        source.mkdir()
        for name in FILES:
            (source / name).write_text(text)
        digests.append(kept.add(source))
        kept.keep(f"question-{text}", {"digest": digests[-1], "reason": "", "proof": {}})
    unused = None
    compiler = OnnxCompiler(home.compiled, unused, unused)  # type: ignore[arg-type]  # nothing is compiled
    return Setting(compiler, (digests[0], digests[1]), home.compiled)


def logs(home: Home) -> Setting:
    names = ("card.log-7-3f9a2c", "card-8-aaaaaa")
    for name in names:
        log_path(home, name).write_text("line\n")
        log_path(home, name).with_name(log_path(home, name).name + ".1").write_text("before\n")
    (home.logs / "control.log").write_text("line\n")
    return Setting(ReleaseLogs(home), names, home.logs)


STORAGES: tuple[Callable[[Home], Setting], ...] = (environments, artifacts, graphs, logs)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    for directory in made.directories:
        directory.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture(params=STORAGES, ids=lambda make: make.__name__)
def setting(request: pytest.FixtureRequest, home: Home) -> Setting:
    made: Setting = request.param(home)
    assert made.storage.kind == request.param.__name__
    return made


def later() -> float:
    return time.time() + 60


def test_whole_ones_are_listed_with_where_they_are_and_when_they_were_used(setting: Setting) -> None:
    found = {one.name: one for one in setting.storage.stored()}
    assert set(found) == set(setting.names)
    assert all(path.exists() for one in found.values() for path in one.paths)
    assert all(abs(one.used_at - time.time()) < 60 for one in found.values())


def test_one_is_removed_and_the_others_stay(setting: Setting) -> None:
    one, other = setting.names
    paths = {stored.name: stored.paths for stored in setting.storage.stored()}
    assert setting.storage.remove(one, later())
    assert [stored.name for stored in setting.storage.stored()] == [other]
    assert not any(path.exists() for path in paths[one])
    assert all(path.exists() for path in paths[other])
    assert not setting.storage.remove(one, later())


def test_what_was_asked_for_meanwhile_stays(setting: Setting) -> None:
    assert not setting.storage.remove(setting.names[0], time.time() - 60)
    assert {stored.name for stored in setting.storage.stored()} == set(setting.names)


@pytest.mark.parametrize("name", ["", ".", "..", "../home", "resolved", ".runs", "control", "c" * 64, "/etc"])
def test_what_is_none_of_them_is_not_removed(setting: Setting, name: str) -> None:
    before = sorted(setting.root.rglob("*"))
    assert not setting.storage.remove(name, later())
    assert [path for path in before if not path.exists()] == []


KILLED = """
import os, shutil, signal, sys, time
sys.path.insert(0, sys.argv[1])
import test_storage as tests
from pathlib import Path
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL) if {name!r} in SEEN else None
SEEN = []
rename = Path.rename
Path.rename = lambda self, target: (SEEN.append(self.name), rename(self, target))[1]
home = tests.Home(Path(sys.argv[2]))
storage = {make}
storage.remove({name!r}, time.time() + 60)
"""
OPENED = {
    "environments": "tests.UvEnvironments(home.environments)",
    "artifacts": "tests.MlflowRegistry('http://127.0.0.1:9', home.artifacts)",
    "graphs": "tests.OnnxCompiler(home.compiled, None, None)",
}


@pytest.mark.parametrize("make", STORAGES[:3], ids=lambda make: make.__name__)
def test_a_kill_in_the_middle_leaves_nothing_under_the_name_and_the_rest_goes_next_time(
    make: Callable[[Home], Setting], home: Home
) -> None:
    setting = make(home)
    one, other = setting.names
    script = KILLED.format(name=one, make=OPENED[make.__name__])
    done = subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent), str(home.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [stored.name for stored in setting.storage.stored()] == [other]
    left = [path for path in setting.root.iterdir() if path.name.startswith((".aside", ".removed", one))]
    assert len(left) == 1  # what it was moved to
    setting.storage.remove("c" * 64, later())
    if make is graphs:  # the next one that is removed
        setting.storage.remove(other, later())
    assert not left[0].exists()


HOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_an_environment_that_is_being_built_is_not_removed(home: Home) -> None:
    setting = environments(home)
    (home.environments / "locks").mkdir(exist_ok=True)
    lock = home.environments / "locks" / f"{DIGESTS[0]}.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        assert not setting.storage.remove(DIGESTS[0], later())
        assert (home.environments / DIGESTS[0] / ENVIRONMENT_FACTS).exists()
        holder.kill()
    assert setting.storage.remove(DIGESTS[0], later())


def test_files_of_a_run_are_kept_and_removed_like_artifacts(home: Home) -> None:
    from serinus.backends.mlflow.cache import ArtifactCache

    cache, run = ArtifactCache(home.artifacts), "3f9a2c" * 5 + "aa"
    for _ in range(2):
        fetched = home.path / "evaluation.parquet"
        fetched.write_bytes(b"rows")
        kept = cache.keep_of_run(run, PurePosixPath("rows/evaluation.parquet"), fetched)
        assert kept.read_bytes() == b"rows"
        assert [one.name for one in cache.stored()] == [f"run-{run}"]
        assert not cache.remove(f"run-{run}", time.time() - 60)
        assert not cache.remove("run-../..", later())
        assert cache.remove(f"run-{run}", later())
        assert cache.stored() == []


def test_a_graph_that_was_removed_is_compiled_again(home: Home) -> None:
    setting = graphs(home)
    kept = Kept(home.compiled)
    assert kept.answer("question-one") is not None
    assert setting.storage.remove(setting.names[0], later())
    assert kept.answer("question-one") is None
    assert kept.answer("question-other") is not None


def test_an_artifact_that_is_asked_for_is_young_again(home: Home) -> None:
    from serinus.backends.mlflow.cache import ArtifactCache

    source = home.path / "logged"
    source.mkdir()
    (source / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n")
    (source / "requirements.txt").write_text("numpy\n")
    cache = ArtifactCache(home.artifacts)

    def download(directory: Path) -> Path:
        return Path(shutil.copytree(source, directory / "model"))

    made = cache.artifact("key", download)
    os.utime(home.artifacts / made.digest, (1, 1))
    assert cache.artifact("key", download) == made
    assert not cache.remove(made.digest, time.time() - 60)
    os.utime(home.artifacts / made.digest, (1, 1))
    assert cache.remove(made.digest, time.time() - 60)
    assert (home.artifacts / cache.artifact("key", download).digest).is_dir()
