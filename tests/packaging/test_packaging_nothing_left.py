"""`make test` fails where a test leaves a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "nothing_left.py"


def run(*command: str, seconds: float = 20) -> tuple[int, Sequence[str]]:
    """Its exit status, and what it says."""
    done = subprocess.run(
        [sys.executable, SCRIPT, str(seconds), *command], stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr.splitlines()


def test_the_exit_status_is_that_of_the_command() -> None:
    assert run("true") == (0, [])
    assert run("sh", "-c", "exit 3") == (3, [])
    assert run("sh", "-c", "kill -TERM $$") == (128 + 15, [])


def test_what_ends_in_time_is_not_left() -> None:
    assert run("sh", "-c", "sleep 0.2 &") == (0, [])


def test_what_is_left_is_named_and_killed_in_whatever_session(tmp_path: Path) -> None:
    """Here in a session of its own, without its parent."""
    told = tmp_path / "pid"
    command = "setsid sh -c 'echo $$ >pid; exec sleep 6543' & while [ ! -s pid ]; do sleep 0.05; done"
    status, said = run("sh", "-c", f"cd {tmp_path}; {command}", seconds=1)
    assert status == 1
    assert len(said) == 2
    pid = told.read_text().strip()
    assert said[1].startswith(f"  {pid}: sleep 6543 (cwd {tmp_path}, ")
    assert not Path(f"/proc/{pid}").exists()


def test_a_failure_of_the_command_is_not_hidden_by_what_it_leaves() -> None:
    assert run("sh", "-c", "sleep 6543 & exit 7", seconds=0)[0] == 7
