"""Another version takes over what runs: the order, what is waited for, and the way back."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stages import FOR_EVER, Clock, Stage, python
from waiting import wait_until

from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.targets.local.supervisor import down, state, succession, up
from serinus.targets.local.supervisor.leaving import GOODBYE
from serinus.targets.local.supervisor.process_manager import ProcessManager, ProcessSpec

NEW = "99.0.0+new"
OLD = "1.0.0+old"


def forever(name: str, version: str, **more: object) -> ProcessSpec:
    return ProcessSpec(name, python(FOR_EVER), version=version, **more)  # type: ignore[arg-type]


def pid(home: Home, name: str) -> int:
    record = state.read(home, name)
    assert record is not None
    return record.pid


def alive(home: Home, name: str) -> bool:
    return state.alive(state.read(home, name))


# --- one process ------------------------------------------------------------------------------------------


def test_one_that_starts_beside_the_other_has_it_dismissed_when_it_answers_and_ended_in_the_end(
    home: Home, clock: Clock
) -> None:
    ProcessManager(home, [forever("envoy", OLD)], clock).round()
    before, told = pid(home, "envoy"), home.path / "told"
    answering: list[bool] = []
    spec = forever(
        "envoy",
        NEW,
        beside=lambda command: python(FOR_EVER, "beside", Path(command[0]).resolve().name),
        answers=lambda _pid: bool(answering),
        dismissal=python(f"open({str(told)!r}, 'a').write('go')"),
    )
    manager = ProcessManager(home, [spec], clock)
    assert manager.outdated == ["envoy"]
    manager.replace("envoy")
    words = Path(f"/proc/{pid(home, 'envoy')}/cmdline").read_text().split("\0")
    assert words[-3:-1] == ["beside", Path(sys.executable).resolve().name], "it was told what runs"
    clock.now += 10 * GOODBYE
    manager.round()
    assert pid(home, "envoy-before") == before
    assert alive(home, "envoy-before"), "as long as the new one does not answer"
    assert [shown["name"] for shown in state.processes(home)] == ["envoy"], "nobody misses it"
    assert not told.exists()
    answering.append(True)
    manager.round()
    wait_until(lambda: told.exists() and told.read_text() == "go")
    manager.round()
    assert alive(home, "envoy-before")
    clock.now += GOODBYE + 1
    manager.round()
    wait_until(lambda: not alive(home, "envoy-before"))
    manager.round()
    assert not manager.leaving("envoy")
    assert state.read(home, "envoy-before") is None
    assert alive(home, "envoy")


def test_the_next_manager_sees_off_what_the_one_before_has_replaced(home: Home, clock: Clock) -> None:
    ProcessManager(home, [forever("envoy", OLD)], clock).round()
    spec = forever("envoy", NEW, beside=lambda _command: python(FOR_EVER))
    ProcessManager(home, [spec], clock).replace("envoy")
    manager = ProcessManager(home, [spec], clock)
    assert manager.leaving("envoy")
    assert manager.outdated == []
    assert manager.stop() == []
    assert not alive(home, "envoy-before")
    assert state.running(home) == []


def test_what_is_held_is_not_started_before_it_is_released(home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, [forever("control", NEW)], clock)
    manager.round()
    manager.hold("control")
    manager.round()
    assert not alive(home, "control")
    manager.release("control")
    manager.round()
    assert alive(home, "control")


def test_what_others_need_meanwhile_is_replaced_after_them() -> None:
    specs = [forever("holder", NEW, after="host"), forever("host", NEW), forever("envoy", NEW, after="mlflow")]
    assert succession.in_order(specs) == ["host", "holder", "envoy"]


def test_what_cannot_be_prepared_leaves_the_other_one_running(home: Home, clock: Clock) -> None:
    ProcessManager(home, [forever("envoy", OLD), forever("control", OLD)], clock).round()
    before = pid(home, "envoy")

    def full() -> None:
        raise OSError(28, "No space left on device")

    specs = [forever("envoy", NEW, prepare=full), forever("control", NEW, decides=True)]
    said = succession.succeed(ProcessManager(home, specs, clock), specs, (), Stop(), 0.01)
    assert said == "envoy cannot be replaced: [Errno 28] No space left on device"
    assert pid(home, "envoy") == before
    assert alive(home, "envoy")


def test_what_does_not_answer_is_named_and_kept_running_and_what_decides_is_released(
    home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "SECONDS", 0.2)
    ProcessManager(home, [forever("host", OLD), forever("control", OLD)], clock).round()
    specs = [forever("host", NEW, answers=lambda _pid: False), forever("control", NEW, decides=True)]
    manager = ProcessManager(home, specs, clock)
    assert succession.succeed(manager, specs, (), Stop(), 0.01) == "host of the new version did not come up"
    assert not alive(home, "control")
    manager.round()
    assert alive(home, "control")


class Stop:
    wanted = False


# --- all of them ------------------------------------------------------------------------------------------


@pytest.fixture
def running(stage: Stage) -> Stage:
    """Of an earlier version, in another place."""
    directory, program = os.path.split(sys.executable)
    stage.version, stage.interpreter = OLD, f"{directory}/./{program}"
    stage.add("holder", FOR_EVER, after="host")
    stage.add("host", FOR_EVER)
    stage.listens()
    stage.specs[-1] = replace(stage.specs[-1], decides=True)
    up(stage.home, launch=stage.launch)
    return stage


@pytest.fixture
def newer(running: Stage) -> Stage:
    return Stage(running.home, [replace(spec, version=NEW) for spec in running.specs], version=NEW)


def versions(home: Home) -> dict[str, str]:
    return {record.name: record.version for record in state.running(home)}


def test_another_version_replaces_everything_and_is_replaced_itself(running: Stage, newer: Stage) -> None:
    for one, other in ((running, newer), (newer, running)):
        before = one.pids()
        said: list[str] = []
        up(one.home, say=said.append, launch=other.launch)
        assert set(versions(one.home).values()) == {other.version}
        assert not [name for name, pid in one.pids().items() if before[name] == pid]
        replaced = [line.split()[0] for line in said if line.endswith("is replaced")]
        assert sorted(replaced) == ["control", "holder", "host"]
        assert replaced[-1] == "control"
        assert said[0] == f"{one.version.split('+')[0]} runs: {other.version.split('+')[0]} takes its place"
    assert running.shown("supervisor")["state"] == "running"


def test_a_version_that_would_not_come_up_touches_nothing(running: Stage, newer: Stage) -> None:
    before = running.pids(), running.pid("supervisor")

    def rehearse(_home: Home) -> None:
        raise Unavailable("the new version would not start")

    with pytest.raises(Unavailable, match="would not start"):
        up(running.home, launch=replace(newer.launch, rehearse=rehearse))
    assert (running.pids(), running.pid("supervisor")) == before


def test_a_version_that_does_not_come_up_gives_way_to_the_one_before(running: Stage, newer: Stage) -> None:
    newer.specs[-1] = replace(newer.specs[-1], command=python("import sys; sys.exit('no such table')"))
    with pytest.raises(
        Unavailable, match=r"control: exited with 1: no such table\); the version before is running again"
    ):
        up(running.home, launch=newer.launch)
    assert set(versions(running.home).values()) == {OLD}
    assert len(running.pids()) == 3


def test_a_version_that_was_installed_over_the_one_before_goes_on_as_far_as_it_came(
    running: Stage, newer: Stage
) -> None:
    newer.specs[-1] = replace(newer.specs[-1], command=python("import sys; sys.exit('no such table')"))
    newer.interpreter = running.interpreter
    with pytest.raises(Unavailable, match="models are served, and what did not start is tried again"):
        up(running.home, launch=newer.launch)
    # The one that ends by itself is started now and then.
    wait_until(lambda: versions(running.home) == {"holder": NEW, "host": NEW})
    up(running.home, launch=running.launch)
    assert set(versions(running.home).values()) == {OLD}
    assert len(running.pids()) == 3


def test_what_a_killed_supervisor_of_another_version_has_left_is_replaced_as_well(running: Stage, newer: Stage) -> None:
    supervisor = running.pid("supervisor")
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: running.pid("supervisor") is None)
    up(running.home, launch=newer.launch)
    assert set(versions(running.home).values()) == {NEW}
    assert down(running.home)
