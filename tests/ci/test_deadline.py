"""Whole rollouts that a time limit from outside leaves no time for are left out, and that is said."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[1] / "shared"
TESTS = """
import pytest

@pytest.fixture(scope="module")
def server():
    print("a server is started")

@pytest.mark.slow
def test_rollout(server):
    print("a rollout is run")

def test_quick():
    pass
"""


def checks(directory: Path, seconds: int | None) -> str:
    """The output of tests that must have ended in this time."""
    (directory / "test_sample.py").write_text(TESTS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SERINUS_"))}
    environment["PYTHONPATH"] = str(SHARED)
    if seconds is not None:
        environment["SERINUS_TEST_DEADLINE"] = str(int(time.time()) + seconds)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "deadline", "-p", "no:cacheprovider", "-W", "ignore", "."]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("seconds", [None, 700])
def test_they_are_run_where_there_is_time(tmp_path: Path, seconds: int | None) -> None:
    output = checks(tmp_path, seconds)
    assert "a rollout is run" in output
    assert "2 passed" in output
    assert "NO TIME" not in output


@pytest.mark.parametrize("seconds", [500, -100])
def test_they_are_left_out_where_there_is_none(tmp_path: Path, seconds: int) -> None:
    output = checks(tmp_path, seconds)
    assert "a server is started" not in output
    assert "1 passed, 1 skipped" in output
    assert "NOT RUN, as less than 600 s are left: 1. `make test-slow` runs them." in output
    assert "test_sample.py::test_rollout" in output.partition("NO TIME WAS LEFT")[2]
