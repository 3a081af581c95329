"""`lib.processes`: who a process is, and when it has ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_until

from serinus.lib import processes

FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""
WAITS = "input()"
FOREIGN_NAME = "import ctypes; ctypes.CDLL(None).prctl(15, b') Z 1 (\\xff', 0, 0, 0); input()"


@contextmanager
def started(text: str) -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, start_new_session=True) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def test_a_process_has_one_identity_of_boot_and_start() -> None:
    with started(WAITS) as pid:
        seen = processes.look(pid)
        assert seen is not None
        assert seen.identity == processes.identity(pid) != processes.identity(os.getpid())
        assert re.fullmatch(rf"{processes.boot()}/[0-9]+", seen.identity)
        assert (seen.pid, seen.session, processes.parent(pid)) == (pid, pid, os.getpid())


def test_one_that_only_waits_to_be_reaped_is_gone_but_has_its_parent_still() -> None:
    with started(WAITS) as pid:
        os.kill(pid, 9)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert processes.look(pid) is processes.identity(pid) is None
        assert processes.parent(pid) == os.getpid()


def test_one_whose_first_thread_alone_has_ended_is_there() -> None:
    with started(FIRST_THREAD_ENDS) as pid:
        before = processes.identity(pid)
        wait_until(lambda: ") Z " in Path(f"/proc/{pid}/stat").read_text())
        assert processes.identity(pid) == before is not None


def test_a_name_is_not_taken_for_what_stands_behind_it() -> None:
    with started(FOREIGN_NAME) as pid:
        wait_until(lambda: b") Z 1 (\xff" in Path(f"/proc/{pid}/stat").read_bytes())
        assert processes.look(pid) is not None
        assert processes.parent(pid) == os.getpid()


def test_what_is_not_there_has_nothing() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for asked in (processes.look, processes.identity, processes.parent, processes.cpu_seconds):
        assert asked(gone.pid) is None


def test_processor_time_is_counted_in_seconds() -> None:
    before = processes.cpu_seconds(os.getpid())
    assert before is not None
    assert before == pytest.approx(sum(os.times()[:2]), abs=0.5)
