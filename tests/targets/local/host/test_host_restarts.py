"""The host as a process: what becomes of its workers when it dies, stops, or meets another host."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from callers import Callers

from serinus.core.placement import PlacementState
from serinus.lib.processes import identity
from serinus.targets.local.host.host import in_order
from serinus.targets.local.host.state_files import StateFiles
from serinus.targets.local.host.unix_http import call

pytestmark = pytest.mark.long


def gone(pid):
    return lambda: identity(pid) is None


def test_a_killed_host_leaves_the_workers_answering(host):
    placement = host.placed()
    host.kill()
    assert host.ask(placement).body["pid"] == placement.pid


def test_the_next_host_replaces_the_workers_and_no_request_fails(host, wait_until):
    first = host.placed(load_seconds=0.5)
    with Callers(first.endpoint, lambda body: body["pid"], threads=4, seconds=10.0) as callers:
        wait_until(lambda: callers.answers)
        host.kill()
        host.start()
        taken_over = host.target.observe()[first.release]
        assert (taken_over.state, taken_over.pid) == (PlacementState.READY, first.pid)
        second = host.until(first.release, PlacementState.READY, but=first.pid)
        wait_until(lambda: second.pid in callers.answers[-4:])
        wait_until(gone(first.pid))
    assert callers.failures == []
    assert set(callers.answers) == {first.pid, second.pid}
    assert wait_until(lambda: [worker.pid for worker in StateFiles(host.home).workers()] == [second.pid])


def test_an_old_worker_goes_on_answering_where_a_new_one_does_not_come_up_and_the_reason_is_seen(host, wait_until):
    first = host.placed()
    host.kill()
    host.release(load="exit")
    host.start()
    wait_until(
        lambda: (
            "a new one while loading: it ended itself with exit status 3" in host.target.observe()[first.release].reason
        )
    )
    assert host.ask(first).body["pid"] == first.pid
    host.release(load="ok")
    assert host.until(first.release, PlacementState.READY, but=first.pid).reason == ""


def test_nobody_is_refused_while_an_old_worker_answers_on_the_socket_that_the_new_host_has_too(hosted, holder):
    hosted.start()
    first = hosted.placed()
    hosted.kill()
    hosted.release(load="exit")
    hosted.start()
    while hosted.target.observe()[first.release].restarts < 3:
        # Few and slow requests: nobody reads what the stand-in reports of each to the host that has died.
        answer = hosted.ask(first, seconds=0.1)
        assert (answer.status, answer.body.get("pid")) == (200, first.pid)


def test_a_release_whose_socket_cannot_be_published_does_not_look_like_one_that_is_starting(host):
    first = host.placed()
    host.kill()
    host.release(load="hang")
    host.start()
    Path(f"{first.endpoint}.new").unlink()
    os.kill(first.pid, signal.SIGKILL)
    failed = host.until(first.release, PlacementState.FAILED)
    assert failed.reason.startswith("the host failed to keep it, see its log:")
    assert f"{first.release} is not kept any more" in (host.home.logs / "host.log").read_text()


def test_a_worker_that_died_while_there_was_no_host_is_replaced_at_once(host):
    first = host.placed()
    host.kill()
    os.kill(first.pid, signal.SIGKILL)
    host.start()
    second = host.until(first.release, PlacementState.READY)
    assert second.pid != first.pid
    assert host.ask(second).body["pid"] == second.pid


def test_callers_wait_where_the_old_worker_dies_before_the_new_one_is_ready(host, wait_until):
    first = host.placed(load_seconds=1.0)
    host.kill()
    host.start()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(gone(first.pid))
    wait_until(lambda: host.target.observe()[first.release].state is PlacementState.STARTING)
    answer = host.ask(first)
    assert answer.body["pid"] != first.pid


def test_a_worker_of_what_is_no_longer_placed_is_stopped_by_the_next_host(host, wait_until):
    first = host.placed()
    host.kill()
    StateFiles(host.home).forget(first.release)
    host.start()
    wait_until(gone(first.pid))
    assert host.target.observe() == {}


def test_a_process_that_got_a_dead_workers_pid_is_left_alone(host):
    first = host.placed()
    host.kill()
    os.kill(first.pid, signal.SIGKILL)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        record = StateFiles(host.home).workers()[0]
        StateFiles(host.home).drop(record.pid)
        StateFiles(host.home).note(type(record)(record.release, bystander.pid, record.identity, ready=True))
        host.start()
        host.until(first.release, PlacementState.READY)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_stopped_host_stops_its_workers_and_places_them_again_when_it_returns(host):
    first = host.placed()
    host.stop()
    assert identity(first.pid) is None
    assert not Path(first.endpoint).exists()
    host.start()
    assert host.until(first.release, PlacementState.READY).pid != first.pid


def test_a_worker_that_ignores_being_told_to_stop_is_killed(hosted, wait_until):
    hosted.start("--grace", "0.3")
    first = hosted.placed(ignores_sigterm=True)
    hosted.target.remove(first.release)
    wait_until(gone(first.pid))


def test_a_release_is_placed_again_while_it_is_still_leaving(host, wait_until):
    first = host.placed()
    caller = threading.Thread(target=lambda: host.ask(first, seconds=0.5))
    caller.start()
    wait_until(lambda: b"answering" in (host.home.logs / f"release-{first.release}.log").read_bytes())
    host.target.remove(first.release)
    second = host.placed()
    caller.join()
    assert second.pid != first.pid
    assert host.ask(second).status == 200


def test_a_second_host_on_the_same_home_refuses_and_harms_nothing(host):
    placement = host.placed()
    second = subprocess.run(host.command(), capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert f"already (pid {host.process.pid})" in second.stderr
    assert host.ask(placement).status == 200


def test_only_so_many_old_workers_are_there_beside_new_ones_as_memory_is_meant_to_hold(hosted, holder, wait_until):
    """Of those that callers keep a connection to: the others are gone as soon as a new one is there."""
    names = [f"fraud-{n}-aaaaaa" for n in range(5)]
    hosted.start()
    first = {name: hosted.placed(name) for name in names}
    kept = {name: connected(placement.endpoint) for name, placement in first.items()}
    hosted.kill()
    hosted.start("--succeeding", "2")

    def replaced():
        return {name for name, placement in hosted.target.observe().items() if placement.pid != first[name].pid}

    wait_until(lambda: len(replaced()) == 2)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:  # in which the others would come up
        before = replaced()
        assert len(before) == 2
        time.sleep(0.05)
    kept[min(before)].close()
    wait_until(lambda: len(replaced()) == 3)
    waiting = set(names) - replaced()
    os.kill(first[max(waiting)].pid, signal.SIGKILL)  # whose callers have nobody now
    wait_until(lambda: max(waiting) in replaced())
    assert min(waiting) not in replaced()
    for connection in kept.values():
        connection.close()
    wait_until(lambda: replaced() == set(names))


def test_a_release_that_does_not_come_up_again_keeps_no_other_from_it(hosted, wait_until):
    names = [f"fraud-{n}-aaaaaa" for n in range(3)]
    hosted.start()
    first = {name: hosted.placed(name) for name in names}
    hosted.kill()
    hosted.release(names[0], load="exit")
    hosted.start("--succeeding", "1")
    for name in names[1:]:
        hosted.until(name, PlacementState.READY, but=first[name].pid)
    assert hosted.ask(first[names[0]]).body["pid"] == first[names[0]].pid


def connected(endpoint):
    """To its worker, which waits for the rest of a request after it has answered another caller, who came later."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(endpoint)
    connection.sendall(b"POST / HTTP/1.1\r\n")
    assert call(Path(endpoint), "POST", "/", b"{}", {}, 10.0).status == 200
    return connection


def test_releases_come_up_again_by_environment_the_most_asked_for_first_and_those_nobody_answers_before_them(hosted):
    where = {"a": "one", "b": "two", "c": "one", "d": "two", "e": "two"}
    releases = [replace(hosted.release(name), environment_digest=environment) for name, environment in where.items()]
    popularity = {"a": 5.0, "b": 9.0, "c": 7.0, "d": 0.0, "e": 1.0}
    found = in_order(releases, {"a", "b", "c", "d"}, popularity)
    assert [one.id for one in found] == ["e", "b", "d", "c", "a"]
