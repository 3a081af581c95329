"""`make demo-in-time`: the end of `make check`, which leaves the demo out where no time is left for it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def demo(**environment: str) -> subprocess.CompletedProcess[str]:
    """What it would run."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "SERINUS_"))}
    command = ["make", "-s", "demo-in-time", "MAKE=echo made:"]
    return subprocess.run(
        command, cwd=ROOT, env={**outside, **environment}, capture_output=True, text=True, check=True, timeout=60
    )


@pytest.mark.parametrize("seconds", [None, 700])
def test_the_demo_is_run_where_there_is_time(seconds: int | None) -> None:
    left = {} if seconds is None else {"SERINUS_TEST_DEADLINE": str(int(time.time()) + seconds)}
    done = demo(**left)
    assert done.stdout == "made: demo\n"
    assert done.stderr == ""


@pytest.mark.parametrize("seconds", [500, -100])
def test_it_is_left_out_where_there_is_none_and_that_is_said(seconds: int) -> None:
    done = demo(SERINUS_TEST_DEADLINE=str(int(time.time()) + seconds))
    assert done.stdout == ""
    assert "THE DEMO IS SKIPPED: less than ten minutes are left" in done.stderr
