"""`scripts/in_time_left.sh`: what `make check` and `.ci/run` run beside the tests takes no time from them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts/in_time_left.sh"


def start(command: str) -> subprocess.Popen[str]:
    return subprocess.Popen([SCRIPT, "sh", "-c", command], stdout=subprocess.PIPE, text=True)


def test_it_gets_the_processor_time_that_nothing_else_wants_and_its_exit_status_is_the_commands() -> None:
    with start("chrt -p $$; cat /proc/self/autogroup; exit 3") as process:
        told, _ = process.communicate()
    assert "SCHED_IDLE" in told
    assert "nice 19" in told or not Path("/proc/self/autogroup").exists()
    assert process.returncode == 3


def test_all_that_it_has_started_ends_with_its_group() -> None:
    with start("sleep 1000 & echo $!; wait") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.read() == "", "the child held it until it ended"
    assert process.returncode == -signal.SIGTERM
    assert not Path(f"/proc/{child}").exists() or "State:\tZ" in Path(f"/proc/{child}/status").read_text()
