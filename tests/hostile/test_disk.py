"""A model that fills the disk, in a running Serinus: it is ended, told of, and leaves nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_serinus import Shell
from whole_load import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WRITES = """
import itertools, os, threading, time

def write():
    for number in itertools.count():
        WRITE

threading.Thread(target=write, daemon=True).start()
print(os.getcwd())
"""


def files(directory: Path) -> int:
    try:
        return len(list(directory.iterdir()))
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize(
    ("write", "why"),
    [
        ("open(f'{number}', 'w').close()", "it had more than 50000 files in its scratch directory"),
        ("open(f'{number}', 'wb').write(bytes(8 << 20))", "it had more than 2048 MiB in its scratch directory"),
    ],
)
def test_a_model_that_writes_without_end_is_ended_and_answers_again(
    another_shell: Callable[[], Shell], write: str, why: str
) -> None:
    shell = another_shell()
    before = shell.pid
    scratch = Path(shell.run(WRITES.replace("WRITE", write)).strip())
    log = shell.serinus.home.logs / "host.log"
    wait_until(lambda: f"{shell.release} was ended because {why}" in log.read_text(), 90, "its end")
    wait_until(lambda: files(scratch) < 10, 60, "an empty scratch directory")
    wait_until(lambda: shell.run("print(1)", fails=True).strip() == "1", 60, "an answer")
    assert shell.pid != before


def test_a_model_that_prints_without_end_fills_no_disk(another_shell: Callable[[], Shell]) -> None:
    shell = another_shell()
    # Slowly enough that the limit of a file's size, which would end the thread, is not what bounds it.
    shell.run(WRITES.replace("WRITE", "print('x' * 100_000, flush=True); time.sleep(0.001)"))
    log = shell.serinus.home.logs / f"release-{shell.release}.log"
    aside = log.with_name(log.name + ".1")
    wait_until(aside.exists, 60, "the first part of the log")
    first = aside.stat().st_ino
    wait_until(lambda: aside.stat().st_ino != first, 60, "the next part of the log")
    assert aside.stat().st_size == 10 << 20
    assert log.stat().st_size <= 1 << 30
    os.kill(shell.pid, signal.SIGKILL)
