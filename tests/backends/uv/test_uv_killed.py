"""Builds whose control process is killed: nothing of them goes on, whatever a package has done to get away."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from descent import alive, end, started
from waiting import wait_until

SECONDS = 5.0
"""Within which nothing is left."""

LEAVES = """
import ctypes, os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG: none
if os.fork() == 0:
    for away in (os.setsid, os.setpgrp):
        try: away()
        except OSError: pass
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
open(MARK, "w").close()
time.sleep(600)
"""

BUILDS = """
import sys
from pathlib import Path
from serinus.backends.uv import UvEnvironments
from serinus.core.release import Requirements

home, index, option = sys.argv[1:]
requirements = Requirements((option, "scorer"), None, None, "requirements.txt")
environments = UvEnvironments(Path(home), always=(), accelerate=False, indexes=[index], build_from_source=True)
environments.prepare(requirements, lambda _: None, lambda _: None)
"""
COMPILES = """
import json, os, sys
from pathlib import Path
from serinus_runtime.isolation.scratch import Bounds
from serinus.backends.uv.confined import Confined, Limits

place, groups = Path(sys.argv[1]), json.loads(sys.argv[2])
config = {"groups": groups, "readable": [str(place)], "target": str(place / "made"), "processes": 4}
limits = Limits(600.0, Bounds(1 << 30, 1000))
interpreter = Path(sys.executable).resolve()
Confined().run("trials.bytecode", config, interpreter=interpreter, directory=place / "made", limits=limits)
"""
RUNS_UV = """
import sys
from pathlib import Path
from serinus.backends.uv.command import Uv

Uv(Path(sys.argv[1])).run("pip", "sync")
"""
ASKS = """
import sys
from pathlib import Path
from serinus.backends.uv.asking import _ask

_ask(Path(sys.argv[1]))
"""


@pytest.fixture
def asker() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        started.append(subprocess.Popen(command, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        end(process)


def ends_with(process: subprocess.Popen[bytes], least: int) -> None:
    """At least so many processes run for it, and none when it is killed."""
    left = started(process.pid, least)
    process.kill()
    process.wait(SECONDS)
    wait_until(lambda: not alive(left), SECONDS, "the end of all that was started")


def program(path: Path, code: str, mark: Path) -> Path:
    """That does `code` in Python."""
    path.write_text(f"#!{sys.executable}\n{code.replace('MARK', repr(str(mark)))}")
    path.chmod(0o700)
    return path


def test_uv_ends_with_all_that_it_has_started(tmp_path: Path, asker: Any) -> None:
    mark = tmp_path / "mark"
    process = asker(RUNS_UV, program(tmp_path / "uv", LEAVES, mark))
    wait_until(mark.exists, what="the start of uv")
    ends_with(process, 3)


def test_an_interpreter_that_is_asked_what_it_is_ends_with_all_that_it_has_started(tmp_path: Path, asker: Any) -> None:
    """A wrapper of a version manager may start anything. It is unconfined."""
    mark = tmp_path / "mark"
    process = asker(ASKS, program(tmp_path / "python", LEAVES, mark))
    wait_until(mark.exists, what="the start of the interpreter")
    ends_with(process, 3)


def test_a_build_from_source_ends_with_all_that_it_has_started(home: Path, index: Any, asker: Any) -> None:
    backend = LEAVES.replace("MARK", "directory + '/mark'").strip().replace("\n", "\n    ")
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"def build_wheel(directory, config_settings=None, metadata_directory=None):\n    {backend}\n",
    }
    index.add_source("scorer", "1.0", "2023-01-01", files)
    process = asker(BUILDS, home, index.url, index.option)
    marks = f"{home}/built/.building-*/**/mark"
    look = partial(glob.glob, marks, recursive=True, include_hidden=True)  # Path.glob fails where a directory goes.
    wait_until(look, what="the build")
    ends_with(process, 3)


def test_the_compiler_of_bytecode_ends_with_the_processes_that_compile(tmp_path: Path, asker: Any) -> None:
    (tmp_path / "made").mkdir()
    sources = [tmp_path / f"{number}.py" for number in range(3)]
    for source in sources:
        os.mkfifo(source)  # as slow a source as there can be
    process = asker(COMPILES, tmp_path, json.dumps([[str(source)] for source in sources]))
    ends_with(process, 5)
