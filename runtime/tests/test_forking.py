"""A forked process ends as its work does, and never goes on as the zygote that it was forked from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from serinus_runtime.process.forking import end_with

WENT_ON = 99


def status_of(work: Callable[[], int]) -> int:
    """Of a forked process that does it; `WENT_ON`: it has come back from `end_with`."""
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            end_with(work)
        finally:
            os._exit(WENT_ON)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def leaves(status: object) -> NoReturn:
    raise SystemExit(status)


def fails() -> int:
    raise ValueError("a bug")


def interrupted() -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("work", "status"),
    [
        (lambda: 0, 0),
        (lambda: 3, 3),
        (lambda: leaves(4), 4),
        (lambda: leaves(None), 1),
        (lambda: leaves("no"), 1),
        (fails, 1),
        (interrupted, 1),
    ],
)
def test_its_status_is_that_of_its_work(work: Callable[[], int], status: int) -> None:
    assert status_of(work) == status


def test_it_ends_even_where_its_output_cannot_be_written() -> None:
    def prints_into_a_closed_pipe() -> int:
        reader, writer = os.pipe()
        os.close(reader)
        sys.stdout = os.fdopen(writer, "w")
        sys.stdout.write("not written before it ends")
        return 5

    assert status_of(prints_into_a_closed_pipe) == 5
