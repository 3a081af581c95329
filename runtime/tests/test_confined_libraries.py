"""What models and their libraries do within their own process and scratch directory goes on under the confinement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"

RUN = """
import json, os, sys, traceback
from pathlib import Path
source, cases, scratch = map(Path, sys.argv[1:4])
most = sys.argv[4]
sys.path.insert(0, str(source))
from serinus_runtime.isolation import confine, landlock
abi = landlock.abi()
landlock.abi = lambda: min(abi, int(most))
confine.prepare(scratch)
os.environ.update(dict.fromkeys(confine._ONE_THREAD, "4"))
confine.confine((source, cases.parent, *confine.own_directories()), scratch, (), kind="worker")
confine.with_packages()
sys.path.insert(0, str(cases.parent))
found = {}
module = __import__(cases.stem)
for name, case in list(vars(module).items()):
    if getattr(case, "__module__", None) == module.__name__ and not name.startswith("_"):
        try:
            found[name] = case()
        except BaseException:
            found[name] = traceback.format_exc()
print(json.dumps(found))
"""


def what_fails(cases: str, least: int, python: str, scratch: Path, *options: str, most: int = 99) -> Mapping[str, str]:
    """Tracebacks by the names of cases, with `most` as the newest ABI of Landlock that is used."""
    done = subprocess.run(
        [python, "-I", *options, "-c", RUN, str(SOURCE), str(HERE / f"{cases}.py"), str(scratch), str(most)],
        capture_output=True, text=True, timeout=150, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= least
    return {name: why for name, why in found.items() if why is not None}


def test_the_standard_library_goes_on(tmp_path: Path) -> None:
    assert what_fails("confined_standard", 14, sys.executable, tmp_path) == {}


def test_the_standard_library_of_another_python_goes_on(bare_python: str, tmp_path: Path) -> None:
    assert what_fails("confined_standard", 14, bare_python, tmp_path, "-S") == {}


def test_on_an_older_kernel_only_signals_to_others_are_missed(tmp_path: Path) -> None:
    """Of a process of its own as well: who is whose is Landlock's to say, from ABI 6 on."""
    failed = what_fails("confined_standard", 14, sys.executable, tmp_path, most=2)
    assert set(failed) == {"programs", "a_process_that_aborts"}
    assert "ended.terminate()" in failed["programs"]
    assert "PermissionError" in failed["programs"]


@pytest.mark.long
def test_libraries_of_models_go_on_with_several_threads(tmp_path: Path) -> None:
    assert what_fails("confined_libraries", 10, sys.executable, tmp_path) == {}
