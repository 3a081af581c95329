from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stages import FOR_EVER, Clock, Stage, on_sigterm, python
from waiting import wait_until

from serinus.core.home import Home
from serinus.targets.local.supervisor import logs, process_manager, state
from serinus.targets.local.supervisor.process_manager import ProcessManager, ProcessSpec

DIES = python("import sys; print('the port is taken', file=sys.stderr); sys.exit(3)")


def forever(name: str) -> ProcessSpec:
    return ProcessSpec(name, python(FOR_EVER))


def dead(home: Home, name: str) -> bool:
    return not state.alive(state.read(home, name))


def test_a_process_that_dies_is_started_again_at_once_and_then_with_back_off(home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, [ProcessSpec("envoy", DIES)], clock)
    manager.round()
    waited = []
    for _ in range(5):
        before = state.read(home, "envoy")
        assert before is not None
        wait_until(lambda: dead(home, "envoy"))
        began = clock.now
        while (now := state.read(home, "envoy")) is not None and now.restarts == before.restarts:
            manager.round()
            clock.now += 0.1 if now.state == "backing-off" else 0.0
        waited.append(round(clock.now - began, 1))
    assert waited[0] <= 0.1
    assert waited[1:] == pytest.approx([0.2, 0.4, 0.8, 1.6], abs=0.15)


def test_the_status_says_why_a_process_ended_in_its_own_last_words(home: Home, clock: Clock) -> None:
    logs.path(home, "envoy").write_text("of an earlier life\n")
    manager = ProcessManager(home, [ProcessSpec("envoy", DIES), ProcessSpec("host", python("pass"))], clock)
    manager.round()
    wait_until(lambda: dead(home, "envoy") and dead(home, "host"))
    manager.round()
    assert {p["name"]: p["reason"] for p in state.processes(home)} == {
        "envoy": "exited with 3: the port is taken",
        "host": "exited with 0",
    }


FIRST_THREAD_ENDS = python(
    """
import ctypes, threading, time

threading.Thread(target=time.sleep, args=(60,)).start()
print("alone", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
)
"""The kernel shows such a process as ended while its other threads go on, as it does for a moment in every kill."""


def test_a_process_has_not_ended_before_the_last_of_its_threads_has(home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, [ProcessSpec("control", FIRST_THREAD_ENDS)], clock)
    manager.round()
    before = state.read(home, "control")
    assert before is not None
    shown = Path(f"/proc/{before.pid}/stat")
    wait_until(lambda: ") Z " in shown.read_text())
    assert not dead(home, "control")
    manager.round()
    assert state.read(home, "control") == before
    os.kill(before.pid, signal.SIGKILL)
    clock.now += 1.0

    def again() -> bool:
        manager.round()
        return state.read(home, "control") != before

    wait_until(again)
    after = state.read(home, "control")
    assert after is not None
    assert (after.restarts, after.reason) == (1, "killed by SIGKILL")


def test_the_back_off_never_grows_beyond_its_limit_and_is_forgotten_by_health(
    home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_manager, "LONGEST_DELAY", 0.4)
    manager = ProcessManager(home, [forever("envoy")], clock)
    manager.round()

    def kill_and_see() -> float:
        record = state.read(home, "envoy")
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)
        wait_until(lambda: dead(home, "envoy"))
        began = clock.now
        manager.round()
        while dead(home, "envoy"):
            clock.now += 0.1
            manager.round()
        return round(clock.now - began, 1)

    assert [kill_and_see() for _ in range(5)] == [0.0, 0.2, 0.4, 0.4, 0.4]
    clock.now += process_manager.HEALTHY_AFTER + 1
    manager.round()
    assert kill_and_see() == 0.0
    assert state.processes(home)[0]["reason"] == "killed by SIGKILL"


def test_one_that_dies_or_cannot_be_started_does_not_touch_the_others(home: Home, clock: Clock) -> None:
    specs = [ProcessSpec("mlflow", ["/nowhere/mlflow"]), forever("host"), ProcessSpec("envoy", DIES)]
    manager = ProcessManager(home, specs, clock)
    manager.round()
    host = state.read(home, "host")
    wait_until(lambda: dead(home, "envoy"))
    for _ in range(3):
        clock.now += 1.0
        manager.round()
    assert state.read(home, "host") == host
    shown = {p["name"]: p for p in state.processes(home)}
    assert shown["mlflow"]["state"] == "backing-off"
    assert shown["mlflow"]["reason"] == "cannot be started: No such file or directory"
    assert shown["mlflow"]["restarts"] == 3


def test_processes_that_are_to_give_way_do_so_also_with_their_whole_sessions(home: Home) -> None:
    """By as much as they are told, from the value of whoever starts them; all of them, also for an ordinary user."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    own_group = Path("/proc/self/autogroup")
    of_mine = int(own_group.read_text().split()[-1]) if os.access(own_group, os.W_OK) else 0
    giving = [replace(forever(name), nice=nice) for name, nice in (("control", 5), ("collector", 7), ("mlflow", 19))]
    ProcessManager(home, [*giving, forever("envoy")]).round()
    for name, nice in {"control": 5, "collector": 7, "mlflow": 19, "envoy": 0}.items():
        record = state.read(home, name)
        assert record is not None
        assert os.getpriority(os.PRIO_PROCESS, record.pid) == min(mine + nice, 19)
        group = Path(f"/proc/{record.pid}/autogroup")
        if nice and os.access(group, os.W_OK) and (words := group.read_text().split()):  # else sessions are no groups
            assert words[-1] == str(min(of_mine + nice, 19))


def test_the_next_manager_adopts_what_runs_by_its_record(home: Home) -> None:
    ProcessManager(home, [forever("host"), forever("envoy")]).round()
    before = [state.read(home, name) for name in ("host", "envoy")]
    ProcessManager(home, [forever("host"), forever("envoy")]).round()
    assert [state.read(home, name) for name in ("host", "envoy")] == before


def test_the_next_manager_adopts_what_runs_without_any_record_of_it(home: Home) -> None:
    ProcessManager(home, [forever("host")]).round()
    record = state.read(home, "host")
    (home.run / "host.json").unlink()
    ProcessManager(home, [forever("host")]).round()
    adopted = state.read(home, "host")
    assert record is not None
    assert adopted is not None
    assert (adopted.pid, adopted.identity) == (record.pid, record.identity)


def test_what_runs_for_a_home_that_was_removed_is_not_adopted_by_a_new_one_in_its_place(home: Home) -> None:
    first = ProcessManager(home, [forever("host")])
    first.round()
    old = state.read(home, "host")
    shutil.rmtree(home.path)
    for directory in home.directories:
        directory.mkdir(parents=True)
    ProcessManager(home, [forever("host")]).round()
    new = state.read(home, "host")
    assert old is not None
    assert new is not None
    assert new.pid != old.pid
    first.stop()


def test_another_process_that_has_the_pid_by_now_is_neither_adopted_nor_stopped(home: Home) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", FOR_EVER], start_new_session=True)
    try:
        mine = state.ProcessRecord("envoy", "running", stranger.pid, "another-boot/17")
        state.write(home, mine)
        manager = ProcessManager(home, [forever("envoy")])
        manager.round()
        record = state.read(home, "envoy")
        assert record is not None
        assert record.pid != stranger.pid
        manager.stop()
        assert dead(home, "envoy")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_what_ran_before_the_machine_was_restarted_does_not_count_as_a_death(home: Home) -> None:
    state.write(home, state.ProcessRecord("envoy", "running", 1, "another-boot/17", restarts=4, reason="died"))
    ProcessManager(home, [forever("envoy")]).round()
    shown = state.processes(home)[0]
    assert (shown["state"], shown["restarts"], shown["reason"]) == ("running", 0, "")


def test_what_a_dead_process_has_left_behind_is_ended_before_the_next_is_started(home: Home, clock: Clock) -> None:
    found = home.path / "left"
    leaves = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {FOR_EVER!r}]);"
    leaves += f"open({str(found)!r}, 'w').write(str(child.pid)); import time; time.sleep(600)"
    manager = ProcessManager(home, [ProcessSpec("mlflow", python(leaves))], clock)
    manager.round()
    left = int(wait_until(lambda: found.exists() and found.read_text()))
    record = state.read(home, "mlflow")
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    wait_until(lambda: dead(home, "mlflow"))
    manager.round()
    wait_until(lambda: not Path(f"/proc/{left}/cmdline").exists() or not Path(f"/proc/{left}/cmdline").read_bytes())


def test_processes_are_stopped_the_other_way_round_each_with_what_comes_before_its_end(home: Home) -> None:
    told = home.path / "told"
    names = ["collector", "host", "envoy"]
    specs = []
    for name in names:
        code = on_sigterm(f"open({str(told)!r}, 'a').write('{name}\\n'); sys.exit(0)", home.path / f"{name}.up")
        specs.append(ProcessSpec(name, python(code)))
    before = python(f"open({str(told)!r}, 'a').write('drained\\n')")
    specs[2] = replace(specs[2], pre_stop=before)
    manager = ProcessManager(home, specs)
    manager.round()
    wait_until(lambda: all((home.path / f"{name}.up").exists() for name in names))
    assert manager.stop() == []
    assert told.read_text().split() == ["drained", "envoy", "host", "collector"]
    assert {p["state"] for p in state.processes(home)} == {"stopped"}


def test_a_process_that_hangs_at_sigterm_is_killed_when_its_time_is_over(home: Home) -> None:
    ready = home.path / "ready"
    spec = ProcessSpec("host", python(on_sigterm("pass", ready)), stop_seconds=1.0)
    manager = ProcessManager(home, [spec])
    manager.round()
    wait_until(ready.exists)
    assert manager.stop() == []
    assert dead(home, "host")
    assert state.processes(home)[0]["reason"] == "killed, as it did not stop within 1 s"


@pytest.mark.parametrize(
    "pre_stop",
    [["/nowhere/drain"], python("import sys; sys.exit(1)"), python(FOR_EVER)],
    ids=["missing", "fails", "hangs"],
)
def test_a_process_is_stopped_also_where_what_comes_before_goes_wrong(home: Home, pre_stop: list[str]) -> None:
    manager = ProcessManager(home, [ProcessSpec("envoy", python(FOR_EVER), stop_seconds=0.5, pre_stop=pre_stop)])
    manager.round()
    manager.stop()
    assert dead(home, "envoy")


def test_what_an_earlier_manager_has_left_is_stopped_in_order_from_the_records_alone(home: Home) -> None:
    told = home.path / "told"
    names = ["collector", "envoy"]
    specs = []
    for name in names:
        code = on_sigterm(f"open({str(told)!r}, 'a').write('{name}\\n'); sys.exit(0)", home.path / f"{name}.up")
        specs.append(ProcessSpec(name, python(code), pre_stop=python(f"open({str(told)!r}, 'a').write('{name}: ')")))
    ProcessManager(home, specs).round()
    wait_until(lambda: all((home.path / f"{name}.up").exists() for name in names))
    assert ProcessManager.of_what_runs(home).stop() == []
    assert told.read_text().splitlines() == ["envoy: envoy", "collector: collector"]


def test_a_log_that_cannot_be_opened_keeps_nothing_from_running_and_is_said(home: Home) -> None:
    logs.path(home, "host").mkdir()
    ProcessManager(home, [forever("host")]).round()
    shown = state.processes(home)[0]
    assert (shown["state"], shown["reason"]) == ("running", "its log cannot be written: Is a directory")


def test_a_log_on_a_full_disk_keeps_nothing_from_running(home: Home, clock: Clock) -> None:
    logs.path(home, "envoy").symlink_to("/dev/full")
    manager = ProcessManager(home, [ProcessSpec("envoy", DIES)], clock)

    def again() -> bool:
        clock.now += 1.0
        manager.round()
        return bool(state.processes(home)[0]["restarts"] == 3)

    wait_until(again)
    assert state.processes(home)[0]["reason"] == "exited with 120"  # Python's own, where its last words did not fit


def test_records_that_cannot_be_written_do_not_stop_the_manager(stage: Stage, home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, [forever("host")], clock)
    manager.round()
    first = stage.pid("host")
    shutil.rmtree(home.run)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: stage.pid("host") is None)
    manager.round()
    second = wait_until(lambda: stage.pid("host"))
    assert second != first
    manager.stop()
    assert stage.pid("host") is None


def test_a_record_that_could_not_be_written_is_written_once_it_can_be(stage: Stage, home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, [forever("host")], clock)
    manager.round()
    first = stage.pid("host")
    assert first is not None
    shutil.rmtree(home.run)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: stage.pid("host") is None)
    manager.round()
    home.run.mkdir()
    manager.round()
    (shown,) = state.processes(home)
    assert (shown["state"], shown["restarts"]) == ("running", 1)
    manager.stop()


def test_a_log_that_grows_is_turned_over_while_the_process_goes_on_writing(
    home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LARGEST", 100)
    code = "import time\nwhile True: print('a line of a log', flush=True); time.sleep(0.01)"
    manager = ProcessManager(home, [ProcessSpec("host", python(code))], clock)
    manager.round()
    log = logs.path(home, "host")
    wait_until(lambda: logs.size(log) > 200)
    clock.now += process_manager.LOGS_EVERY
    manager.round()
    old = log.with_name("host.log.1")
    assert old.stat().st_size > 200
    wait_until(lambda: log.read_text().endswith("a line of a log\n"))
