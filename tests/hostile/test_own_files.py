"""Packages that bring the files of the environment itself: nothing unconfined reads or runs them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from serinus.backends.uv import UvEnvironments
from serinus.core.errors import Unbuildable
from serinus.core.home import Home
from serinus.core.release import Environment, Requirements
from serinus.targets.local.host import Trials
from serinus.targets.local.host.trial_zygotes import TrialZygotes

Prepare = Callable[[Mapping[str, str]], Environment]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "h")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.secret.write_text(secrets.token_hex(16))
    home.token.write_text("t")
    return home


@pytest.fixture
def prepare(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """An environment with one package, which has these files."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    environments = UvEnvironments(home.environments, always=(), accelerate=False)

    def prepared(files: Mapping[str, str]) -> Environment:
        wheel = tmp_path / "scorer-1.0-py3-none-any.whl"
        about = "scorer-1.0.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
            archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: scorer\nVersion: 1.0\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return environments.prepare(Requirements((str(wheel),), version), lambda _: None, lambda _: None)

    return prepared


def model(home: Home, code: str) -> str:
    """Its digest."""
    artifact = home.artifacts / "model"
    (artifact / "code").mkdir(parents=True)
    (artifact / "code" / "by_hand.py").write_text(code)
    flavor = {"loader_module": "by_hand", "code": "code"}
    (artifact / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    return artifact.name


TELLS = """
import os, scorer, sys

def attempt(path):
    try:
        open(path, "a").close()
    except OSError as error:
        return type(error).__name__
    return "written"

def _load_pyfunc(path):
    packages = os.path.dirname(scorer.__file__)
    root = os.path.dirname(os.path.dirname(os.path.dirname(packages)))
    tried = [attempt(os.path.join(root, name)) for name in ("pyvenv.cfg", "environment.json")]
    inside = (sys.prefix, sys.executable) == (root, os.path.join(root, "bin", "python"))
    raise RuntimeError(" ".join([str(inside), *tried, attempt(scorer.__file__)]))
"""


@pytest.mark.parametrize("name", ["pyvenv.cfg", "environment.json", "accelerators/orjson.py", "lib64/x"])
def test_a_package_that_brings_a_file_of_the_environment_is_refused_by_its_name(
    prepare: Prepare, home: Home, name: str
) -> None:
    files = {"scorer.py": "", f"scorer-1.0.data/data/{name}": "home = /nowhere\n"}
    if name.startswith("lib64"):  # a link to lib, through which it may put what it likes there
        assert home.interpreter(prepare(files).digest).exists()
        return
    with pytest.raises(Unbuildable, match=rf"brings a file of the environment itself: {name.split('/')[0]}"):
        prepare(files)


def test_the_package_is_named(prepare: Prepare) -> None:
    with pytest.raises(Unbuildable, match=r"scorer==1\.0 brings a file of the environment itself: pyvenv\.cfg"):
        prepare({"scorer.py": "", "scorer-1.0.data/data/pyvenv.cfg": "home = /nowhere\n"})


@pytest.mark.parametrize("forked", [False, True])
def test_what_is_started_is_the_base_interpreter_inside_the_environment(
    prepare: Prepare, home: Home, *, forked: bool
) -> None:
    environment = prepare({"scorer.py": ""})
    zygotes = TrialZygotes(home) if forked else None
    said = Trials(home, zygotes=zygotes).loads(environment.digest, model(home, TELLS))
    if zygotes:
        zygotes.close()
    assert "True PermissionError PermissionError PermissionError" in (said or "")


def test_an_environment_that_names_a_library_of_its_own_runs_nothing_of_it(
    prepare: Prepare, home: Home, tmp_path: Path
) -> None:
    """As one that an earlier version of Serinus has built."""
    proof, fake = tmp_path / "ran", tmp_path / "python"
    library = Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns("test", "*-packages", "__pycache__", "idlelib", "tkinter", "config-*")
    shutil.copytree(library, fake / "lib" / library.name, ignore=left_out, ignore_dangling_symlinks=True)
    (fake / "bin").mkdir()
    with (fake / "lib" / library.name / "encodings" / "__init__.py").open("a") as module:
        module.write(f"\nimport posix\nposix.close(posix.open({str(proof)!r}, posix.O_CREAT | posix.O_WRONLY))\n")
    environment = prepare({"scorer.py": ""})
    root = home.environments / environment.digest
    config = root / "pyvenv.cfg"
    config.unlink()
    config.write_text(f"home = {fake}/bin\n")
    facts = json.loads((root / "environment.json").read_text())
    del facts["interpreter"]
    (root / "environment.json").unlink()
    (root / "environment.json").write_text(json.dumps(facts))
    said = Trials(home).loads(environment.digest, model(home, TELLS))
    assert "True PermissionError" in (said or "")
    assert not proof.exists()
    python = str(home.interpreter(environment.digest))
    os.spawnv(os.P_WAIT, python, [python, "-I", "-S", "-c", ""])
    assert proof.exists(), "so it would have told"


def test_an_interpreter_inside_an_environment_is_not_started(prepare: Prepare, home: Home) -> None:
    environment = prepare({"scorer.py": ""})
    root = home.environments / environment.digest
    (root / "environment.json").unlink()
    (root / "environment.json").write_text("{}")
    python = home.interpreter(environment.digest)
    python.unlink()
    python.write_text("#!/bin/sh\necho ran\n")
    python.chmod(0o755)
    said = Trials(home).loads(environment.digest, model(home, TELLS))
    assert said == "its environment has an interpreter of its own; deploy the version again"


def test_files_of_an_environment_cannot_be_written_and_hold_no_links(prepare: Prepare, home: Home) -> None:
    environment = prepare({"scorer.py": "", "scorer-1.0.data/scripts/tool": "#!python\nprint('tool')\n"})
    root = home.environments / environment.digest
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.parent != root]
    assert files
    assert [path for path in files if path.stat().st_mode & 0o222] == []
    links = sorted(path.name for path in root.rglob("*") if path.is_symlink())
    assert links == sorted(["lib64", "python", "python3", f"python{sys.version_info.major}.{sys.version_info.minor}"])
    assert (root / "bin" / "tool").exists()


CHANGES = """
import mmap, os, sys

# Runs in a zygote as soon as its packages are let in, and in every other process that imports this package.
said = {}
packages = os.path.dirname(__file__)
target = os.path.join(packages, "scorer.py")

def attempt(what, how):
    try:
        how()
        said[what] = "done"
    except Exception as error:
        said[what] = type(error).__name__

def opened(flags, path=target):
    os.close(os.open(path, flags))

def through(flags):
    # Once more, by the descriptor of a file that was opened to be read.
    read = os.open(target, os.O_RDONLY)
    opened(flags, "/proc/self/fd/%d" % read)

def mapped():
    with open(target, "rb") as file:
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_WRITE)[0:1] = b"#"

def linked():
    os.link(target, "linked")
    opened(os.O_WRONLY, "linked")

def pointed():
    os.symlink(target, "pointed")
    opened(os.O_WRONLY | os.O_TRUNC, "pointed")

def moved():
    os.rename(packages, "moved")

attempt("write", lambda: opened(os.O_WRONLY))
attempt("append", lambda: opened(os.O_WRONLY | os.O_APPEND))
attempt("truncate while opening", lambda: opened(os.O_RDONLY | os.O_TRUNC))
attempt("truncate", lambda: os.truncate(target, 0))
attempt("truncate what was opened", lambda: os.ftruncate(os.open(target, os.O_RDONLY), 0))
attempt("write to what was opened", lambda: os.write(os.open(target, os.O_RDONLY), b"#"))
attempt("open once more", lambda: through(os.O_WRONLY))
attempt("open once more and truncate", lambda: through(os.O_WRONLY | os.O_TRUNC))
attempt("map", mapped)
attempt("chmod", lambda: (os.chmod(target, 0o666), opened(os.O_WRONLY)))
attempt("fchmod", lambda: (os.fchmod(os.open(target, os.O_RDONLY), 0o666), opened(os.O_WRONLY)))
attempt("utime", lambda: os.utime(target, (0, 0)))
attempt("link", linked)
attempt("point", pointed)
attempt("move", moved)
attempt("replace", lambda: (open("mine", "w").close(), os.replace("mine", target)))
attempt("remove", lambda: os.unlink(target))
attempt("add", lambda: open(os.path.join(packages, "added.py"), "w"))
attempt("add bytecode", lambda: open(os.path.join(packages, "__pycache__", "other.pyc"), "w"))
attempt("add beside", lambda: open(os.path.join(sys.prefix, "added"), "w"))
attempt("by another way", lambda: opened(os.O_WRONLY, "/proc/self/root" + target))
process = sorted(name for name in sys.modules if name.startswith("serinus_runtime.") and name.endswith("zygote"))
"""
TELLS_CHANGES = """
import changes

def _load_pyfunc(path):
    done = [name for name in changes.said if changes.said[name] == "done"]
    raise RuntimeError(f"{len(changes.said)} tried, done: {done} in {changes.process}")
"""


def everything_in(*roots: Path) -> Mapping[str, tuple[int, int, int, bytes]]:
    found = {}
    for path in (path for root in roots for path in root.rglob("*") if not path.is_symlink()):
        seen = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (seen.st_mode, seen.st_size, seen.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("forked", [False, True])
def test_nothing_that_runs_in_an_environment_changes_it_or_the_cache_that_it_shares(
    prepare: Prepare, home: Home, tmp_path: Path, *, forked: bool
) -> None:
    environment = prepare({"scorer.py": "value = 1\n", "changes.py": CHANGES, "changes.pth": "import changes\n"})
    (installed,) = (home.environments / environment.digest).glob("lib/python*/site-packages/scorer.py")
    (cached,) = (tmp_path / "cache").glob("archive-*/*/scorer.py")
    assert installed.samefile(cached), "the hard link that this is about"
    before = everything_in((home.environments / environment.digest), tmp_path / "cache")
    zygotes = TrialZygotes(home) if forked else None
    said = Trials(home, zygotes=zygotes).loads(environment.digest, model(home, TELLS_CHANGES))
    if zygotes:
        zygotes.close()
    in_which = "['serinus_runtime.process.trial_zygote', 'serinus_runtime.process.zygote']" if forked else "[]"
    assert f"21 tried, done: [] in {in_which}" in (said or "")
    assert everything_in((home.environments / environment.digest), tmp_path / "cache") == before
