"""Which interpreter a model gets. Most of the interpreters here are scripts that answer what one would."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serinus.backends.uv import asking
from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Interpreters
from serinus.backends.uv.places import candidates
from serinus.core.errors import Unbuildable

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install("pyenv/versions/3.9.18/bin/python", "3.9.18"): puts what answers as that interpreter there; where
    nothing else is found but the running one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{tmp_path}/pyenv/shims")

    def installed(where: str, version: str, *, usable: bool = True) -> Path:
        path = tmp_path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = [int(part) for part in version.split(".")]
        answer = {"path": str(path), "version": numbers, "usable": usable, "platform": "linux-x86_64-glibc"}
        path.write_text(f"#!/bin/sh\necho asked >> {path}.log\necho '{json.dumps(answer)}'\n")
        path.chmod(0o755)
        return path

    return installed


@pytest.fixture
def interpreters(tmp_path: Path) -> Interpreters:
    return Interpreters(Uv(), tmp_path / "interpreters.json")


def say(_: str) -> None: ...


def test_the_exact_patch_version_is_taken_where_it_is(install: Install, interpreters: Interpreters) -> None:
    exact = install("pyenv/versions/3.9.18/bin/python", "3.9.18")
    install("bin/python3.9", "3.9.20")
    choice = interpreters.choose("3.9.18", say)
    assert (choice.interpreter.path, choice.note) == (exact, "")


def test_else_the_newest_of_the_same_minor_version_and_that_is_said(
    install: Install, interpreters: Interpreters
) -> None:
    install("pyenv/versions/3.9.18/bin/python", "3.9.18")
    newest = install("uv/cpython-3.9.20-linux/bin/python3", "3.9.20")
    choice = interpreters.choose("3.9.7", say)
    assert choice.interpreter.path == newest
    assert choice.note == "Python 3.9.7 is not on this machine: 3.9.20, of the same minor version, is used"
    assert interpreters.choose("3.9", say).note == ""


def test_without_a_version_the_running_one_is_taken_and_that_is_said(
    install: Install, interpreters: Interpreters
) -> None:
    choice = interpreters.choose(None, say)
    assert choice.interpreter.version == sys.version_info[:3]
    assert choice.note.startswith("the artifact does not say which Python it needs")


def test_a_virtual_environment_stands_for_the_installation_that_it_was_made_of(
    install: Install, interpreters: Interpreters
) -> None:
    running = interpreters.choose(".".join(map(str, sys.version_info[:3])), say).interpreter
    assert running.path.resolve() == Path(sys.executable).resolve()
    assert not running.path.is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix


def test_pyenvs_shims_are_never_asked(install: Install, interpreters: Interpreters, tmp_path: Path) -> None:
    shim = install("pyenv/shims/python3.9", "3.9.18")
    behind = install("pyenv/versions/3.9.18/bin/python", "3.9.18")
    assert interpreters.choose("3.9", say).interpreter.path == behind
    assert list(interpreters.found())
    assert not Path(f"{shim}.log").exists()


def test_a_named_interpreter_comes_first(install: Install, tmp_path: Path) -> None:
    named = install("elsewhere/python", "3.9.18")
    install("bin/python3.9", "3.9.18")
    interpreters = Interpreters(Uv(), tmp_path / "interpreters.json", [named])
    assert interpreters.choose("3.9.18", say).interpreter.path == named


def test_an_interpreter_is_given_none_of_our_credentials(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = install("elsewhere/python", "3.9.18")
    named.write_text(f"#!/bin/sh\n/usr/bin/env > {tmp_path}/told\n" + named.read_text())
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    chosen = Interpreters(Uv(), tmp_path / "interpreters.json", [named]).choose("3.9.18", say)
    assert chosen.interpreter.path == named
    told = (tmp_path / "told").read_text()
    assert "s3cret" not in told
    assert f"PYENV_ROOT={tmp_path}/pyenv" in told


def test_an_interpreter_is_asked_once_until_it_is_replaced(install: Install, tmp_path: Path) -> None:
    path = install("bin/python3.9", "3.9.18")

    def chosen() -> tuple[int, ...]:
        return Interpreters(Uv(), tmp_path / "interpreters.json").choose("3.9", say).interpreter.version

    assert [chosen(), chosen()] == [(3, 9, 18), (3, 9, 18)]
    assert Path(f"{path}.log").read_text().splitlines() == ["asked"]
    install("bin/python3.9", "3.9.200")
    assert chosen() == (3, 9, 200)


def test_what_is_no_usable_interpreter_is_passed_over(
    install: Install, interpreters: Interpreters, tmp_path: Path
) -> None:
    install("pyenv/versions/3.9.19/bin/python", "3.9.19", usable=False)
    broken = install("pyenv/versions/3.9.20/bin/python", "3.9.20")
    broken.write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "pyenv/versions/3.9.21/bin").mkdir(parents=True)
    (tmp_path / "pyenv/versions/3.9.21/bin/python").symlink_to("/nonexistent")
    good = install("bin/python3.9", "3.9.18")
    assert interpreters.choose("3.9", say).interpreter.path == good


def test_one_that_is_nowhere_is_told_with_what_there_is(install: Install, interpreters: Interpreters) -> None:
    install("bin/python3.9", "3.9.18")
    install("bin/python3.10", "3.10.2")
    lines: list[str] = []
    with pytest.raises(Unbuildable) as caught:
        interpreters.choose("3.77.1", lines.append)
    assert lines == ["Python 3.77.1 is not on this machine and is being fetched"]
    assert "Python 3.77.1 is not on this machine and could not be fetched (" in caught.value.message
    assert "No download found for request: cpython-3.77" in caught.value.message
    assert "On this machine: 3.9.18, 3.10.2" in caught.value.message
    assert "pyenv install 3.77.1" in caught.value.hint


def test_one_that_the_runtime_cannot_run_on_is_refused_at_once(install: Install, interpreters: Interpreters) -> None:
    install("bin/python3.7", "3.7.16")
    with pytest.raises(Unbuildable, match=r"needs Python 3\.7\.16, and the oldest that can be served is 3\.8"):
        interpreters.choose("3.7.16", say)


# --- what is passed over ----------------------------------------------------------------------------------


def missing(interpreters: Interpreters) -> str:
    """What is said where no interpreter is found."""
    with pytest.raises(Unbuildable) as caught:
        interpreters.choose("3.77.1", say)
    return caught.value.message


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link to a file that does not exist": (
        lambda path: path.symlink_to("/nonexistent"),
        "a link to a file that does not exist",
    ),
    "a link to itself": (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
    "a directory": (lambda path: path.mkdir(), "no file"),
    "a pipe that nobody writes to": (lambda path: os.mkfifo(path, 0o755), "no file"),
    "a file that may not be run": (lambda path: path.write_text("#!/bin/sh\n"), "permission denied"),
    "nothing that can be run": (lambda path: program(path, "\x7fELF"), "exec format error"),
    "a script of an interpreter that is gone": (
        lambda path: program(path, "#!/gone/sh\n"),
        "its program does not exist",
    ),
    "one that fails": (lambda path: program(path, "#!/bin/sh\nexit 127\n"), "exited with 127"),
    "one that is killed": (lambda path: program(path, "#!/bin/sh\nkill -9 $$\n"), "killed by signal 9"),
    "one that says nothing": (
        lambda path: program(path, "#!/bin/sh\n"),
        "it does not answer like a Python interpreter",
    ),
    "one that says else": (
        lambda path: program(path, '#!/bin/sh\necho \'{"usable": true, "version": "3.9"}\'\n'),
        "it does not answer like a Python interpreter",
    ),
    "one that prints without end": (
        lambda path: program(path, "#!/bin/sh\nexec /usr/bin/yes\n"),
        "it does not stop printing",
    ),
    "one that hangs": (lambda path: program(path, "#!/bin/sh\n/bin/sleep 600\n"), "no answer within 0.5 s"),
    "one that waits to be told": (lambda path: program(path, "#!/bin/sh\nread -r answer\n"), "exited with 1"),
    "one that leaves a hanging one behind": (
        lambda path: program(path, "#!/bin/sh\n/bin/sleep 600 &\n"),
        "it does not answer like a Python interpreter",
    ),
}


def program(path: Path, text: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o755)


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_or_hangs_is_passed_over_and_named_where_nothing_is_found(
    install: Install, interpreters: Interpreters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.5)
    make, why = BROKEN[kind]
    for place in ("pyenv/versions/3.9.99/bin/python", "bin/python3"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        make(tmp_path / place)
    good = install("bin/python3.9", "3.9.18")
    assert interpreters.choose("3.9", say).interpreter.path == good
    said = missing(interpreters)
    assert "On this machine: 3.9.18" in said
    for place in ("pyenv/versions/3.9.99/bin/python", "bin/python3"):
        assert f"{tmp_path / place} ({why}" in said


def test_what_hangs_is_ended_whole_and_not_asked_again_at_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.5)
    hangs = tmp_path / "bin/python3"
    hangs.parent.mkdir()
    program(hangs, f"#!/bin/sh\necho asked >> {hangs}.log\n/bin/sleep 600 &\necho $! > {hangs}.pid\nwait\n")
    install("bin/python3.9", "3.9.18")
    interpreters = Interpreters(Uv(), tmp_path / "interpreters.json")
    for _ in range(2):
        assert interpreters.choose("3.9", say).interpreter.version == (3, 9, 18)
    assert Path(f"{hangs}.log").read_text().splitlines() == ["asked"]
    left = Path("/proc", Path(f"{hangs}.pid").read_text().strip(), "stat")
    assert not left.exists() or left.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_what_was_passed_over_is_looked_at_again_later(tmp_path: Path) -> None:
    now = 0.0
    passed_over = asking.PassedOver(lambda: now)
    passed_over.add(tmp_path, PermissionError(13, "Permission denied"))
    assert passed_over.recently(tmp_path)
    assert passed_over.in_words() == f" Passed over: {tmp_path} (permission denied)."
    now = asking.AGAIN_SECONDS
    assert not passed_over.recently(tmp_path)
    assert passed_over.in_words() == ""


def test_of_many_that_were_passed_over_some_are_named_and_the_others_counted(tmp_path: Path) -> None:
    passed_over = asking.PassedOver()
    for number in range(20):
        passed_over.add(tmp_path / str(number), asking.NoAnswer("no file"))
    said = passed_over.in_words()
    assert (said.count("no file"), said.endswith(" and 12 more.")) == (8, True)


def test_a_directory_that_never_answers_is_passed_over(
    install: Install, interpreters: Interpreters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a network file system that is gone."""
    good = install("bin/python3.9", "3.9.18")
    forever, listed = threading.Event(), Path.iterdir

    def iterdir(directory: Path) -> Iterator[Path]:
        if directory == tmp_path / "pyenv/versions":
            forever.wait()
        return listed(directory)

    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(Path, "iterdir", iterdir)
    try:
        assert interpreters.choose("3.9", say).interpreter.path == good
        assert f"{tmp_path}/pyenv/versions (it does not answer within 0.2 s)" in missing(interpreters)
    finally:
        forever.set()


def test_loops_and_files_in_the_place_of_directories_are_passed_over(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("pyenv/versions/3.9.18/bin/python", "3.9.18")
    (tmp_path / "pyenv/versions/3.9.19").symlink_to(tmp_path / "pyenv/versions/3.9.19")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}/loop:{tmp_path}/file:{tmp_path}/gone:{tmp_path}/file/bin")
    interpreters = Interpreters(Uv(), tmp_path / "interpreters.json", [tmp_path / "named"])
    (tmp_path / "named").symlink_to(tmp_path / "gone")
    assert interpreters.choose("3.9", say).interpreter.version == (3, 9, 18)
    said = missing(interpreters)
    for place in ("pyenv/versions/3.9.19/bin/python", "loop"):
        assert f"{tmp_path}/{place} (too many levels of symbolic links)" in said
    assert f"{tmp_path}/file (not a directory)" in said
    assert f"{tmp_path}/named (a link to a file that does not exist)" in said
    assert f"{tmp_path}/gone (" not in said, "a PATH may name directories that are not there"


def test_a_user_without_a_home_has_no_interpreters_there(
    install: Install, interpreters: Interpreters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    good = install("bin/python3.9", "3.9.18")
    monkeypatch.setattr(Path, "home", no_home)
    for name in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert interpreters.choose("3.9", say).interpreter.path == good


@pytest.mark.parametrize("kept", ["[]", "null", "{", '{"a": 1, "b": {"usable": true}, "c": {"usable": false}}'])
def test_a_memory_that_holds_something_else_is_as_good_as_none(install: Install, tmp_path: Path, kept: str) -> None:
    (tmp_path / "interpreters.json").write_text(kept)
    good = install("bin/python3.9", "3.9.18")
    assert Interpreters(Uv(), tmp_path / "interpreters.json").choose("3.9", say).interpreter.path == good


@contextmanager
def ordinary_user(directory: Path) -> Iterator[None]:
    """Whoever runs the tests; where that is root, whom nothing is forbidden, somebody else, who owns `directory`."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    for path in (directory, *directory.rglob("*")):
        os.chown(path, nobody, nobody, follow_symlinks=False)
    os.setegid(nobody)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that also somebody else than who runs the tests can reach."""
    directory = Path(tempfile.mkdtemp(prefix="serinus-uv-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    for path in directory.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(directory)


@pytest.mark.parametrize("where", ["PYENV_ROOT", "PATH", "UV_PYTHON_INSTALL_DIR", "HOME"])
def test_a_place_that_this_user_may_not_read_is_passed_over_and_named(
    open_to_all: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """As after `su` without a login, where PATH and PYENV_ROOT are still another user's, or on a home of a network."""
    closed, good = open_to_all / "closed", open_to_all / "bin/python3.9"
    for directory in (closed / "versions", closed / ".pyenv/versions", closed / ".local/share/uv/python", good.parent):
        directory.mkdir(parents=True)
    answer = {"path": str(good), "version": [3, 9, 18], "usable": True, "platform": "linux-x86_64-glibc"}
    program(good, f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    closed.chmod(0)
    settings = {name: str(open_to_all / "none") for name in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "HOME")}
    settings["PATH"] = str(good.parent)
    settings[where] = f"{closed}:{good.parent}" if where == "PATH" else str(closed)
    if where == "HOME":
        del settings["UV_PYTHON_INSTALL_DIR"]
        monkeypatch.delenv("UV_PYTHON_INSTALL_DIR", raising=False)
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with ordinary_user(open_to_all):
        passed_over = asking.PassedOver()
        found = {path.name for path in candidates([], passed_over)}
    # By who runs the tests: the interpreter that runs them need not be another user's to run.
    assert asking.Answers(open_to_all / "interpreters.json", passed_over).of(good) == answer
    assert "python3.9" in found
    assert f"{closed}" in passed_over.in_words()
    assert "(permission denied)" in passed_over.in_words()
