"""Which interpreter a model gets. Most of the interpreters here are scripts that answer what one would."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Interpreters
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
    assert lines == ["Python 3.77.1 is not on this machine: fetching it"]
    assert "Python 3.77.1 is not on this machine and could not be fetched (" in caught.value.message
    assert "No download found for request: cpython-3.77" in caught.value.message
    assert "Here are: 3.9.18, 3.10.2" in caught.value.message
    assert "pyenv install 3.77.1" in caught.value.hint


def test_one_that_the_runtime_cannot_run_on_is_refused_at_once(install: Install, interpreters: Interpreters) -> None:
    install("bin/python3.7", "3.7.16")
    with pytest.raises(Unbuildable, match=r"needs Python 3\.7\.16, and the oldest that can be served is 3\.8"):
        interpreters.choose("3.7.16", say)
