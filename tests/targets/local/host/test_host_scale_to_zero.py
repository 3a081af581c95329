"""Releases that are scaled to zero while nobody asks for them, with a stand-in for the runtime."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from serinus.core.errors import NotFound
from serinus.core.placement import PlacementState
from serinus.core.release import Scale
from serinus.lib.processes import identity
from serinus.targets.local.host.unix_http import call

pytestmark = pytest.mark.long

SOON = ("--idle", "0.3", "--young", "0", "--busiest", "0", "--survey", "0.1")


@pytest.fixture
def idling(hosted):
    """A host whose releases are soon scaled to zero."""
    hosted.start(*SOON)
    return hosted


def gone(pid):
    return lambda: identity(pid) is None


def test_a_release_that_nobody_asks_for_has_no_process_and_the_first_request_activates_it(idling, wait_until):
    first = idling.placed()
    at_zero = idling.until(first.release, PlacementState.SCALED_TO_ZERO)
    assert (at_zero.pid, at_zero.memory_bytes, at_zero.workers, at_zero.answers) == (None, None, 0, True)
    assert at_zero.active_since is None
    wait_until(gone(first.pid))
    answer = idling.ask(at_zero)
    assert answer.status == 200
    up = idling.until(first.release, PlacementState.READY)
    assert first.active_since is not None
    assert up.active_since > first.active_since
    assert (up.pid, up.restarts, up.workers) == (answer.body["pid"], 0, 1)


def test_a_burst_of_first_requests_activates_it_once(hosted, wait_until):
    # Idle for long enough that it is not scaled to zero again, on a busy machine, before the last one has asked.
    hosted.start("--idle", "4", "--young", "0", "--busiest", "0", "--survey", "0.1")
    first = hosted.placed(scale=Scale(max_workers=1), load_seconds=0.3)
    at_zero = hosted.until(first.release, PlacementState.SCALED_TO_ZERO)
    wait_until(gone(first.pid))  # until it has been told, it may still answer who comes
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(hosted.ask(at_zero))) for _ in range(100)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [answer.status for answer in answers] == [200] * 100
    assert len({answer.body["pid"] for answer in answers}) == 1


def test_a_release_that_is_asked_is_not_scaled_to_zero(hosted):
    hosted.start("--idle", "1.5", "--young", "0", "--busiest", "0", "--survey", "0.1")
    first, other = hosted.placed(), hosted.placed("other-1-bbbbbb")
    while hosted.target.observe()[other.release].state is PlacementState.READY:
        assert hosted.ask(first).body["pid"] == first.pid
    assert hosted.target.observe()[first.release].pid == first.pid


def test_one_that_is_to_be_kept_warm_is_not_scaled_to_zero(idling, wait_until):
    warm = idling.placed(scale=Scale(keep_warm=True))
    other = idling.placed("other-1-bbbbbb")
    idling.until(other.release, PlacementState.SCALED_TO_ZERO)
    assert idling.target.observe()[warm.release].pid == warm.pid


def test_one_that_was_just_placed_stays_up(hosted, wait_until):
    hosted.start("--idle", "0.1", "--young", "2", "--busiest", "0", "--survey", "0.05")
    first = hosted.placed()
    wait_until(lambda: hosted.target.observe()[first.release].memory_bytes)
    assert hosted.target.observe()[first.release].state is PlacementState.READY
    hosted.until(first.release, PlacementState.SCALED_TO_ZERO)


def test_who_is_connected_when_a_release_is_scaled_to_zero_is_answered_and_who_comes_then_activates_it(
    idling, wait_until
):
    first = idling.placed()
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(first.endpoint)
        idling.until(first.release, PlacementState.SCALED_TO_ZERO)
        wait_until(lambda: idling.ask(first).body["pid"] != first.pid)
        connected.sendall(b"POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}")
        assert connected.recv(15) == b"HTTP/1.0 200 OK"
    wait_until(gone(first.pid))


def test_a_release_with_a_request_that_is_not_answered_is_not_scaled_to_zero(idling):
    first = idling.placed()
    assert idling.ask(first, seconds=1.5).body["pid"] == first.pid
    assert idling.until(first.release, PlacementState.SCALED_TO_ZERO).restarts == 0


def test_a_release_is_activated_before_it_is_asked_and_then_stays_up(hosted):
    hosted.start("--idle", "0.2", "--young", "1", "--busiest", "0", "--survey", "0.1")
    at_zero = hosted.until(hosted.placed().release, PlacementState.SCALED_TO_ZERO)
    hosted.target.activate(at_zero.release)
    assert hosted.until(at_zero.release, PlacementState.READY).pid
    with pytest.raises(NotFound, match="is not placed"):
        hosted.target.activate("nobody-1-cccccc")


def test_the_control_plane_of_an_earlier_version_activates_a_release_as_well(hosted):
    hosted.start("--idle", "0.2", "--young", "1", "--busiest", "0", "--survey", "0.1")
    at_zero = hosted.until(hosted.placed().release, PlacementState.SCALED_TO_ZERO)
    secret = {"Authorization": f"Bearer {hosted.home.secret.read_text()}"}
    assert call(hosted.home.host_socket, "POST", f"/releases/{at_zero.release}/wake", None, secret, 5.0).status == 202
    assert hosted.until(at_zero.release, PlacementState.READY).pid


def test_an_activation_that_fails_is_answered_503_with_retry_after_and_tried_again(idling, wait_until):
    first = idling.placed()
    at_zero = idling.until(first.release, PlacementState.SCALED_TO_ZERO)
    wait_until(gone(first.pid))
    idling.release(load="fail")
    answer = idling.ask(at_zero)
    assert (answer.status, int(answer.headers["retry-after"]) >= 1) == (503, True)
    assert "does not come up" in answer.error
    failed = idling.until(at_zero.release, PlacementState.FAILED)
    assert failed.reason == "ModuleNotFoundError: No module named 'xgboost'"
    idling.release(load="ok")
    idling.come_up(at_zero.release)


def test_callers_of_what_does_not_come_up_are_answered_also_where_they_send_nothing_or_go(hosted):
    hosted.start()
    release = hosted.release(load="fail")
    hosted.target.place(release)
    failed = hosted.until(release.id, PlacementState.FAILED)
    for _ in range(3):
        socket.socket(socket.AF_UNIX).connect(failed.endpoint)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(failed.endpoint)
        assert call(Path(failed.endpoint), "POST", "/", b"{}" * 200_000, {}, 5.0).status == 503
        silent.settimeout(5.0)
        assert silent.recv(1) == b""


def test_the_least_recently_used_are_scaled_to_zero_where_memory_is_short(hosted, wait_until):
    hosted.start("--memory", "1", "--survey", "0.1")
    kept = hosted.placed("m-0-aaaaaa", scale=Scale(keep_warm=True))
    for release in (hosted.release("m-1-aaaaaa"), hosted.release("m-2-aaaaaa")):
        hosted.target.place(release)
        hosted.until(release.id, PlacementState.SCALED_TO_ZERO)
    assert hosted.target.observe()[kept.release].pid == kept.pid


def test_what_was_at_zero_stays_there_under_the_next_host_and_is_activated_there(idling, wait_until):
    at_zero = idling.until(idling.placed().release, PlacementState.SCALED_TO_ZERO)
    idling.stop()
    idling.start(*SOON)
    assert idling.target.observe()[at_zero.release].state is PlacementState.SCALED_TO_ZERO
    assert idling.ask(at_zero).status == 200


def test_a_worker_that_is_killed_while_it_leaves_harms_nobody(idling, wait_until):
    first = idling.placed()
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(first.endpoint)
        idling.until(first.release, PlacementState.SCALED_TO_ZERO)
        os.kill(first.pid, signal.SIGKILL)
        wait_until(gone(first.pid))
    assert idling.ask(first).status == 200


def test_a_stopping_host_takes_the_workers_along_that_are_leaving(idling):
    first = idling.placed()
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(first.endpoint)
        idling.until(first.release, PlacementState.SCALED_TO_ZERO)
        threading.Timer(0.5, connected.close).start()
        idling.stop()
    assert identity(first.pid) is None


def test_a_busy_release_gets_another_worker_and_loses_it_again(hosted, wait_until):
    hosted.start("--survey", "0.1")
    first = hosted.placed()
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one processor: one worker")
    stop = threading.Event()

    def call_on():
        while not stop.is_set():
            hosted.ask(first, spin_seconds=0.05)

    callers = [threading.Thread(target=call_on) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        wait_until(lambda: hosted.target.observe()[first.release].workers == 2)
        wait_until(lambda: "sheds" in (hosted.home.logs / f"release-{first.release}.log").read_text())
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    wait_until(lambda: hosted.target.observe()[first.release].workers == 1)
    assert hosted.ask(first).status == 200


def test_a_release_that_may_have_one_worker_gets_no_other(hosted, wait_until):
    hosted.start("--survey", "0.05")
    first = hosted.placed(scale=Scale(max_workers=1))
    answers = [hosted.ask(first, spin_seconds=0.1).body["pid"] for _ in range(10)]
    assert set(answers) == {first.pid}
    assert hosted.target.observe()[first.release].workers == 1
