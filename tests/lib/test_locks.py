"""`lib.locks`: who holds a lock, who waits, and who lets go by dying."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.lib import locks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


_HOLDS = """
import sys
from pathlib import Path
from serinus.lib import locks
with locks.held(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


def test_one_holds_it_at_a_time(path: Path, holder: subprocess.Popen[str]) -> None:
    assert locks.is_held(path)
    assert locks.take(path, seconds=0) is None
    with locks.held(path, seconds=0) as descriptor:
        assert descriptor is None
    holder.communicate()
    with locks.held(path, seconds=0) as descriptor:
        assert descriptor is not None
        assert locks.take(path, seconds=0) is None, "also not in the same process"
    assert not locks.is_held(path)


def test_who_is_killed_lets_go(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    with locks.held(path) as descriptor:
        assert descriptor is not None


def test_who_waits_gets_it_when_the_other_lets_go(path: Path) -> None:
    for seconds in (30.0, float("inf")):
        first = locks.take(path)
        assert first is not None
        taken: list[int | None] = []

        def wait(seconds: float = seconds, taken: list[int | None] = taken) -> None:
            taken.append(locks.take(path, seconds=seconds))

        thread = threading.Thread(target=wait)
        thread.start()
        assert taken == []
        os.close(first)
        thread.join(20)
        assert taken != [None]
        (second,) = taken
        assert second is not None
        os.close(second)


def test_a_child_with_the_descriptor_keeps_it(path: Path) -> None:
    descriptor = locks.take(path)
    assert descriptor is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(descriptor,)) as kept:
        os.close(descriptor)
        assert locks.is_held(path)
        kept.communicate()
    assert not locks.is_held(path)


def test_no_other_child_keeps_it(path: Path) -> None:
    descriptor = locks.take(path)
    assert descriptor is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as other:
        os.close(descriptor)
        assert not locks.is_held(path)
        other.communicate()


def test_a_lock_that_may_not_be_read_gets_its_mode_also_where_it_had_another(path: Path) -> None:
    path.touch(0o644)
    with locks.held(path, mode=locks.WRITE_ONLY):
        assert stat.S_IMODE(path.stat().st_mode) == 0o200


def test_what_the_holder_has_written_stays(path: Path) -> None:
    path.write_text("4711\n")
    with locks.held(path):
        assert path.read_text() == "4711\n"


def test_a_lock_that_is_not_there_is_held_by_nobody_and_not_made(path: Path) -> None:
    assert not locks.is_held(path)
    assert not path.exists()


def test_no_descriptor_is_left_open(path: Path, holder: subprocess.Popen[str]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    locks.is_held(path)
    locks.take(path, seconds=0)
    with locks.held(path.with_name("other")):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
