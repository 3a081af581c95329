"""`lib.isolated`: what a process that is started so has of its surroundings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from serinus.lib import isolated

MODULE = """
import json, sys
def main():
    told = {"argv": sys.argv[1:], "prefix": sys.prefix, "executable": sys.executable, "site": "site" in sys.modules,
            "path": sys.path, "isolated": sys.flags.isolated}
    print(json.dumps(told))
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    package = tmp_path / "it's code" / "ours"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "told.py").write_text(MODULE)
    return package.parent


def told(command: list[str], directory: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(directory), "PYTHONSTARTUP": "x"}
    ran = subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_it_calls_main_with_the_arguments_and_sees_neither_variables_nor_the_working_directory(
    code: Path, tmp_path: Path
) -> None:
    found = told(isolated.command(Path(sys.executable), code, "ours.told", "a b", "--c"), tmp_path)
    assert found["argv"] == ["a b", "--c"]
    assert found["path"][0] == str(code)
    assert str(tmp_path) not in found["path"]
    assert "" not in found["path"]
    assert (found["site"], found["isolated"]) == (False, 1)


def test_it_takes_itself_for_the_python_of_an_environment_and_runs_no_code_of_its_packages(
    code: Path, tmp_path: Path
) -> None:
    root = tmp_path / "environment"
    venv.create(root, symlinks=True)
    (packages,) = root.glob("lib/python*/site-packages")
    (packages / "code.pth").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    python = root / "bin" / "python"
    found = told(isolated.command(Path(sys.executable).resolve(), code, "ours.told", python=python), tmp_path)
    assert (found["prefix"], found["executable"]) == (str(root), str(python))
    assert not (tmp_path / "ran").exists()


def test_flags_stand_before_the_code(code: Path) -> None:
    command = isolated.command(Path("/python"), code, "ours.told", "last", flags=("-u", "-X", "faulthandler"))
    assert command[:7] == ["/python", "-I", "-S", "-u", "-X", "faulthandler", "-c"]
    assert command[-1] == "last"
