"""Bytecode is compiled for each package apart, and shared only where nothing but the same package was at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import serinus_runtime

from serinus.backends.uv.bytecode import Bytecode
from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Interpreter, Interpreters

RUNTIME = Path(str(serinus_runtime.__file__)).parents[1]
PYTHON = Interpreter(Path(sys.executable).resolve(), tuple(sys.version_info[:3]), "linux")

# As if the source had taken the compiler over.
TAKEN_OVER = """
import sys
sys.path.insert(0, {runtime!r})
from serinus_runtime.trials import bytecode

def compile(source, cfile, doraise):
    for place in ("0/forged.pyc", "1/forged.pyc", "forged.pyc"):
        try:
            open(place, "w").close()
        except OSError:
            pass

bytecode.py_compile.compile = compile
bytecode.main()
"""


def package(packages: Path, **files: str | Path) -> Path:
    """`files`: content, or a file that is to be the same."""
    directory = packages / "numbers2"
    directory.mkdir(parents=True)
    for name, content in files.items():
        file = directory / f"{name}.py"
        if isinstance(content, Path):
            os.link(content, file)
        else:
            file.write_text(content)
    return packages


def test_a_source_that_takes_the_compiler_over_writes_for_its_own_package_alone(tmp_path: Path) -> None:
    packages = package(tmp_path / "packages", one="", two="")
    groups = [[str(packages / "numbers2" / f"{name}.py")] for name in ("one", "two")]
    config, target = tmp_path / "config.json", tmp_path / "made"
    target.mkdir()
    told = {"groups": groups[:1], "readable": [str(packages)], "target": str(target), "processes": 2, "confine": True}
    (target / "1").mkdir()
    config.write_text(json.dumps(told))
    code = TAKEN_OVER.format(runtime=str(RUNTIME))
    subprocess.run([PYTHON.path, "-I", "-S", "-c", code, config], check=True, timeout=60)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["0", "0/forged.pyc", "1"]


def test_bytecode_is_shared_with_the_same_package_and_not_where_a_file_was_added_to_it(tmp_path: Path) -> None:
    bytecode = Bytecode(tmp_path / "kept")
    one = package(tmp_path / "one", first="value = 1\n", second="value = 2\n")
    first, second = (one / "numbers2" / f"{name}.py" for name in ("first", "second"))
    assert bytecode.provide(one, PYTHON) == (2, 2)
    assert bytecode.provide(package(tmp_path / "same", first=first, second=second), PYTHON) == (2, 0)
    added = package(tmp_path / "added", first=first, second=second, third="value = 3\n")
    assert bytecode.provide(added, PYTHON) == (3, 3)
    pattern = "numbers2/__pycache__/first.*.pyc"
    (mine,), (others,) = one.glob(pattern), added.glob(pattern)
    assert not mine.samefile(others)
    (same,) = (tmp_path / "same").glob(pattern)
    assert mine.samefile(same)


def test_a_file_that_makes_the_compiler_fail_leaves_the_others_of_its_package(tmp_path: Path) -> None:
    packages = package(tmp_path / "one", first="value = 1\n", second="{{ no Python }}")
    assert Bytecode(tmp_path / "kept").provide(packages, PYTHON) == (2, 1)


def test_reproducible_bytecode_is_the_same_from_another_directory_and_process(tmp_path: Path) -> None:
    """Sets of strings have another order in each process, as their hashes are drawn anew."""
    source = "def f(x):\n    return x in {'one', 'two', 'three', 'four', 'five'}\n"
    made = []
    for name in ("first", "deep/second", "third"):
        packages = package(tmp_path / name / "packages", one=source, two="x = 'x'\n")
        Bytecode(tmp_path / name / "kept").provide_reproducibly(packages, PYTHON)
        made.append({path.name: path.read_bytes() for path in packages.rglob("*.pyc")})
    assert made[0] == made[1] == made[2]
    tag = f"cpython-{PYTHON.version[0]}{PYTHON.version[1]}"
    assert set(made[0]) == {f"{name}.{tag}.pyc" for name in ("one", "two")}
    assert all(content[4:8] == b"\1\0\0\0" for content in made[0].values())  # PEP 552: unchecked


def test_before_python_3_11_what_has_no_order_has_no_reproducible_bytecode(tmp_path: Path) -> None:
    old = next((one for one in Interpreters(Uv(), tmp_path / "known").found() if one.version < (3, 11)), None)
    if old is None:
        pytest.skip("there is no Python before 3.11 on this machine")
    source = "def f(x):\n    return x in {'one', 'two', 'three'}\n"
    packages = package(tmp_path / "packages", one=source, two="def g(x):\n    return x in ('one', 'two')\n")
    Bytecode(tmp_path / "kept").provide_reproducibly(packages, old)
    assert [path.name.partition(".")[0] for path in packages.rglob("*.pyc")] == ["two"]


def test_reproducible_bytecode_replaces_none_that_a_package_brings(tmp_path: Path) -> None:
    packages = package(tmp_path / "packages", one="x = 1\n")
    Bytecode(tmp_path / "kept").provide_reproducibly(packages, PYTHON)
    (made,) = packages.rglob("*.pyc")
    made.write_bytes(b"theirs")
    Bytecode(tmp_path / "kept").provide_reproducibly(packages, PYTHON)
    assert made.read_bytes() == b"theirs"
    assert not list((tmp_path / "kept").iterdir())
