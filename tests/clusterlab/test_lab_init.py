"""The process that starts the programs and keeps them: as an ordinary process, with programs of the tests."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterlab import LabError, init, place
from clusterlab.init import Init
from clusterlab.place import Place
from clusterlab.programs import Program

FOREVER = "exec sleep 1000"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(place, "_STATE", tmp_path / "state.json")
    made = Place(tmp_path)
    made.logs.mkdir()
    made.progress.touch()
    return made


@pytest.fixture
def kept(lab: Place) -> Iterator[Callable[..., multiprocessing.Process]]:
    """Runs the programs in a process of its own, which reaps all of its children, as init does; ended at the end."""
    started: list[Any] = []

    def run(*table: Program) -> Any:
        process = multiprocessing.get_context("fork").Process(target=_run, args=(lab, table))
        process.start()
        started.append(process)
        return process

    yield run
    for process in started:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        process.kill()
        process.join()


def _run(lab: Place, table: tuple[Program, ...]) -> None:
    made = Init(lab, table)
    try:
        made.start()
    except LabError as error:
        made.fail(str(error))
        signal.pause()  # Its programs are still its children when the fixture ends them.
    made.keep()


def shell(name: str, script: str, ready: Callable[[], bool] = lambda: True, after: tuple[str, ...] = ()) -> Program:
    return Program(name, ("sh", "-c", script), ready, after)


def state(lab: Place, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    file = lab.directory / "state.json"
    deadline = time.monotonic() + 30
    while True:
        told: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        if told and wanted(told):
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def test_a_program_starts_when_what_it_needs_is_ready(lab: Place, kept: Callable[..., Any]) -> None:
    first, second = lab.directory / "first", lab.directory / "second"
    kept(
        shell("one", f"sleep 0.3; touch {first}; {FOREVER}", first.exists),
        shell("two", f"test -e {first} && touch {second}; {FOREVER}", second.exists, ("one",)),
    )
    told = state(lab, lambda told: told["state"] == "up")
    assert told["problem"] == ""
    assert all(program["ready"] and program["running"] for program in told["programs"].values())
    lines = lab.progress.read_text().splitlines()
    assert [line.partition(" (")[0] for line in lines] == ["one is ready", "two is ready"]


def test_a_program_that_ends_while_the_lab_starts_is_named_with_the_end_of_its_log(
    lab: Place, kept: Callable[..., Any]
) -> None:
    kept(shell("good", FOREVER), shell("bad", "echo no such flag: --x >&2; exit 3", lambda: False))
    told = state(lab, lambda told: told["state"] == "failed")
    assert told["problem"] == "bad has ended with status 3. The end of its log:\n  no such flag: --x"


def test_a_program_that_does_not_become_ready_is_named(
    lab: Place, kept: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "PATIENCE", 0.5)
    kept(shell("deaf", f"echo waiting; {FOREVER}", lambda: False))
    told = state(lab, lambda told: told["state"] == "failed")
    assert told["problem"] == "deaf is not ready after 0 s. The end of its log:\n  waiting"


def test_a_program_that_ends_later_is_started_again_and_children_of_others_are_reaped(
    lab: Place, kept: Callable[..., Any]
) -> None:
    pids = lab.directory / "pids"
    process = kept(shell("one", f"echo $$ >> {pids}; {FOREVER}", lambda: pids.exists() and bool(pids.read_text())))
    state(lab, lambda told: told["state"] == "up")
    os.kill(int(pids.read_text()), signal.SIGKILL)
    told = state(lab, lambda told: told["programs"]["one"]["restarts"] == 1 and told["programs"]["one"]["running"])
    assert told["state"] == "up"
    assert told["programs"]["one"]["ended"] == "was ended by signal 9"
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    deadline = time.monotonic() + 20
    while child not in pids.read_text().splitlines():
        assert time.monotonic() < deadline
        time.sleep(0.02)
