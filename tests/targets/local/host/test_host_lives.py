"""The host as a process: what becomes of a release when its worker, or the host, fails."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from serinus.core.placement import PlacementState
from serinus.core.release import Scale
from serinus.lib.processes import identity


def gone(pid):
    return lambda: identity(pid) is None


def test_a_placed_release_becomes_ready_and_answers(shared):
    placement = shared.placed()
    assert (placement.load_seconds, placement.restarts, placement.reason) == (0.25, 0, "")
    assert shared.ask(placement).body["pid"] == placement.pid
    assert Path(placement.endpoint).stat().st_mode & 0o777 == 0o600


def test_memory_is_measured(shared, wait_until):
    release_id = shared.placed().release
    assert wait_until(lambda: shared.target.observe()[release_id].memory_bytes) > 1_000_000


def test_placing_what_is_placed_changes_nothing(shared):
    first = shared.placed()
    assert shared.placed().pid == first.pid


def test_a_killed_worker_is_started_again_and_says_so_in_words(shared, wait_until):
    first = shared.placed(load_seconds=0.3)
    os.kill(first.pid, signal.SIGKILL)
    reason = wait_until(lambda: shared.target.observe()[first.release].reason)
    assert reason == "killed by SIGKILL while serving"
    again = shared.until(first.release, PlacementState.READY, but=first.pid)
    assert (again.restarts, again.reason) == (1, "")


def test_callers_wait_while_a_worker_is_started_again(shared):
    first = shared.placed(load_seconds=0.5)
    os.kill(first.pid, signal.SIGKILL)
    answer = shared.ask(first)
    assert answer.status == 200
    assert answer.body["pid"] != first.pid


def test_a_killed_worker_whose_record_cannot_be_removed_is_started_again(shared, wait_until):
    first = shared.placed()
    record = shared.home.host / "workers" / f"{first.pid}.json"
    record.unlink()
    record.mkdir()
    try:
        os.kill(first.pid, signal.SIGKILL)
        shared.until(first.release, PlacementState.READY, but=first.pid)
        assert f"the record of worker {first.pid} could not be removed" in (shared.home.logs / "host.log").read_text()
    finally:
        record.rmdir()


def test_a_worker_that_exits_in_the_middle_of_a_request_is_started_again(shared):
    first = shared.placed()
    with pytest.raises(OSError):
        shared.ask(first, exit=7)
    second = shared.until(first.release, PlacementState.READY, but=first.pid)
    assert (first.crashes, second.restarts, second.crashes) == (0, 1, 1)
    assert "exited with 7 while serving" in (shared.home.logs / "host.log").read_text()


def test_a_release_that_fails_to_load_gives_the_runtimes_reason(shared):
    release = shared.release(load="fail")
    shared.target.place(release)
    failed = shared.until(release.id, PlacementState.FAILED)
    assert failed.reason == "ModuleNotFoundError: No module named 'xgboost'"


def test_a_release_that_dies_while_loading_says_how(shared):
    for load, reason in (
        ("killed", "while loading: killed by SIGKILL, as the kernel does where memory runs out"),
        ("exit", "while loading: it ended itself with exit status 3 and gave no reason"),
    ):
        release = shared.release(f"fraud-1-{load}", load=load)
        shared.target.place(release)
        assert shared.until(release.id, PlacementState.FAILED).reason == reason


def test_what_never_came_up_stays_failed_while_it_is_tried_again_with_back_off(shared, wait_until):
    release = shared.release(load="fail")
    shared.target.place(release)
    shared.until(release.id, PlacementState.FAILED)
    seen = set()

    def three_times():
        placement = shared.target.observe()[release.id]
        seen.add(placement.state)
        return placement.restarts >= 3

    wait_until(three_times)
    assert seen == {PlacementState.FAILED}
    log = (shared.home.logs / "host.log").read_text()
    assert [log.count(f"again in {delay} s") for delay in ("0.1", "0.2", "0.4")] == [1, 1, 1]


def test_a_load_that_hangs_is_killed_after_the_limit(hosted):
    hosted.start("--load-limit", "0.5")
    release = hosted.release(load="hang")
    hosted.target.place(release)
    assert hosted.until(release.id, PlacementState.FAILED).reason == "was not ready within 0.5 s and was killed"


def test_a_worker_that_reports_nonsense_is_stopped(shared):
    release = shared.release(load="babble")
    shared.target.place(release)
    assert "does not say" in shared.until(release.id, PlacementState.FAILED).reason


def test_a_worker_may_speak_of_its_first_answers_before_it_says_that_it_is_ready(shared):
    release = shared.release(load="answers first")
    shared.target.place(release)
    shared.until(release.id, PlacementState.READY)


def test_a_worker_that_is_not_confined_is_not_used(shared):
    release = shared.release(confined=False)
    shared.target.place(release)
    assert "Landlock" in shared.until(release.id, PlacementState.FAILED).reason


def test_a_worker_that_only_says_that_it_is_confined_is_not_used(shared):
    release = shared.release(only_says_so=True)
    shared.target.place(release)
    assert "did not confine itself" in shared.until(release.id, PlacementState.FAILED).reason


def test_an_interpreter_that_is_not_there_is_named(shared):
    release = shared.release()
    shared.target.place(replace(release, environment_digest="missing"))
    assert str(shared.home.interpreter("missing")) in shared.until(release.id, PlacementState.FAILED).reason


def test_a_worker_beyond_its_memory_limit_is_replaced(shared, wait_until):
    first = shared.placed(scale=Scale(memory_limit_bytes=100 << 20))
    shared.ask(first, eat_bytes=150 << 20)
    again = shared.until(first.release, PlacementState.READY, but=first.pid)
    assert again.restarts == 1
    assert "beyond its limit of 100 MiB" in (shared.home.logs / "host.log").read_text()


def test_removing_answers_what_is_in_flight_and_leaves_nothing(shared, wait_until):
    placement = shared.placed()
    answers = []
    caller = threading.Thread(target=lambda: answers.append(shared.ask(placement, seconds=0.5)))
    caller.start()
    wait_until(lambda: b"answering" in (shared.home.logs / f"release-{placement.release}.log").read_bytes())
    shared.target.remove(placement.release)
    assert shared.target.observe() == {}
    assert not Path(placement.endpoint).exists()
    caller.join()
    assert answers[0].status == 200
    wait_until(gone(placement.pid))
    wait_until(lambda: not list(shared.home.scratch.glob(f"*/{placement.release}")))
    assert list(shared.home.host.glob("*.json")) == []
    shared.target.remove(placement.release)
