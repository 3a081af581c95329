"""Releases that are distrusted: another worker takes their place, which goes the long way, and it stays so."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace

import kept
import pytest
from callers import Callers

from serinus.core.placement import PlacementState
from serinus.core.release import USUAL, Compiled, Scale
from serinus.lib.processes import identity
from serinus.targets.local.host.state_files import StateFiles

NAME = "fraud-1-aaaaaa"
ONE_WORKER = Scale(max_workers=1)
"""However hot it is on a busy machine, no further worker answers beside it."""


def compiled(hosted, name=NAME, /, **behaviour):
    hosted.home.graph("c" * 64).mkdir(exist_ok=True)
    release = hosted.release(name, **behaviour)
    return replace(release, compiled=Compiled("c" * 64, kept.HERE))


def placed(hosted, release, scale=USUAL):
    hosted.target.place(release, scale)
    return hosted.until(release.id, PlacementState.READY)


def long(hosted, wait_until, name=NAME):
    """The placement, once it goes the long way."""

    def there():
        placement = hosted.target.observe()[name]
        return placement if placement.way == "mlflow" and placement.state is PlacementState.READY else None

    return wait_until(there)


def gone(pid):
    return lambda: identity(pid) is None


def asking(endpoint):
    """Callers; who answered, and by what."""
    return Callers(endpoint, lambda body: (body["pid"], body["config"]["long"]), threads=4, seconds=10.0)


@pytest.mark.parametrize("held", [False, True], ids=["alone", "with-a-holder"])
def test_a_distrusted_release_is_answered_the_long_way_and_no_request_fails(hosted, held, request, wait_until):
    if held:
        request.getfixturevalue("holder")
    hosted.start()
    first = placed(hosted, compiled(hosted, load_seconds=0.5), ONE_WORKER)
    assert (first.way, first.long) == ("onnx", False)
    with asking(first.endpoint) as callers:
        wait_until(lambda: callers.answers)
        hosted.target.distrust(NAME)
        marked = hosted.target.observe()[NAME]
        assert (marked.long, marked.state) == (True, PlacementState.READY), "it answers until the other one is ready"
        second = long(hosted, wait_until)
        wait_until(gone(first.pid))
        after = len(callers.answers)
        wait_until(lambda: len(callers.answers) > after + 20)
    assert callers.failures == []
    assert set(callers.answers[:3]) == {(first.pid, False)}
    assert set(callers.answers[after + 4 :]) == {(second.pid, True)}
    assert (second.long, second.restarts) == (True, 0)
    body = hosted.ask(second).body
    assert (body["config"]["compiled"], body["config"]["long"], body["config"]["proven"]) == (None, True, "")
    assert wait_until(lambda: [worker.pid for worker in StateFiles(hosted.home).workers()] == [second.pid])


def test_a_connection_that_is_kept_open_does_not_keep_the_shorter_way(host, wait_until):
    """Where a worker only drains it waits for its callers instead."""
    first = placed(host, compiled(host))
    caller = threading.Thread(target=lambda: host.ask(first, seconds=1.0))
    caller.start()
    wait_until(lambda: b"answering" in (host.home.logs / f"release-{NAME}.log").read_bytes())
    host.target.distrust(NAME)
    long(host, wait_until)
    wait_until(gone(first.pid))
    caller.join()


def test_it_stays_so_with_the_next_host_and_when_it_is_placed_again(host, wait_until):
    release = compiled(host)
    placed(host, release)
    host.target.distrust(NAME)
    first = long(host, wait_until)
    host.kill()
    host.start()
    second = host.until(NAME, PlacementState.READY, but=first.pid)
    assert (second.way, second.long) == ("mlflow", True)
    host.target.place(release)  # as it was placed: nothing else is there under its name
    host.target.remove(NAME)
    assert placed(host, release).way == "mlflow"


@pytest.mark.long
def test_a_host_that_died_after_the_mark_has_its_work_done_by_the_next_one(hosted, holder, wait_until):
    """Also where a caller keeps a connection to the worker that it left."""
    hosted.start()
    first = placed(hosted, compiled(hosted), ONE_WORKER)
    hosted.kill()
    StateFiles(hosted.home).keep_long(NAME)
    with asking(first.endpoint) as callers:
        hosted.start()
        second = hosted.until(NAME, PlacementState.READY, but=first.pid)
        wait_until(gone(first.pid))
        after = len(callers.answers)
        wait_until(lambda: len(callers.answers) > after + 20)
    assert callers.failures == []
    assert set(callers.answers[after + 4 :]) == {(second.pid, True)}


def test_what_is_distrusted_before_it_is_placed_never_answers_by_a_shorter_way(host):
    host.target.distrust(NAME)
    placement = placed(host, compiled(host))
    assert (placement.way, placement.long) == ("mlflow", True)


def test_distrusting_twice_is_distrusting_once(host, wait_until):
    placed(host, compiled(host))
    host.target.distrust(NAME)
    first = long(host, wait_until)
    host.target.distrust(NAME)
    assert host.target.observe()[NAME].pid == first.pid


def test_a_release_that_is_distrusted_while_it_loads_comes_up_the_long_way(host, wait_until):
    host.target.place(compiled(host, load_seconds=1.0))
    wait_until(lambda: (host.home.logs / f"release-{NAME}.log").exists())
    host.target.distrust(NAME)
    second = long(host, wait_until)
    wait_until(lambda: [worker.pid for worker in StateFiles(host.home).workers()] == [second.pid])
    assert host.ask(second).body["config"]["long"]


def test_a_release_at_zero_is_activated_the_long_way(hosted, wait_until):
    hosted.start("--idle", "0.3", "--young", "0", "--busiest", "0", "--survey", "0.1")
    hosted.target.place(compiled(hosted))
    at_zero = hosted.until(NAME, PlacementState.SCALED_TO_ZERO)
    hosted.target.distrust(NAME)
    wait_until(lambda: not StateFiles(hosted.home).workers())  # until it is gone, the last one may answer who comes
    assert hosted.ask(at_zero).body["config"]["long"]


def test_helpers_of_the_shorter_way_go_as_well(hosted, wait_until):
    hosted.start("--survey", "0.1")
    first = placed(hosted, compiled(hosted), Scale(max_workers=2))
    stopping = threading.Event()

    def ask():
        while not stopping.is_set():
            hosted.ask(first, spin_seconds=0.02)

    callers = [threading.Thread(target=ask) for _ in range(6)]
    for caller in callers:
        caller.start()
    try:
        wait_until(lambda: hosted.target.observe()[NAME].workers == 2)
        short = {worker.pid for worker in StateFiles(hosted.home).workers()}
        hosted.target.distrust(NAME)
        long(hosted, wait_until)
        for pid in short:
            wait_until(gone(pid))
        assert hosted.ask(first).body["config"]["long"]
    finally:
        stopping.set()
        for caller in callers:
            caller.join()


def test_where_the_long_way_does_not_come_up_the_shorter_one_answers_and_the_reason_is_seen(host, wait_until):
    first = placed(host, compiled(host))
    behaviour = host.home.artifacts / NAME / "behaviour.json"
    behaviour.write_text(json.dumps({"load": "exit"}))
    host.target.distrust(NAME)
    wait_until(
        lambda: "a new one while loading: it ended itself with exit status 3" in host.target.observe()[NAME].reason
    )
    placement = host.target.observe()[NAME]
    assert placement.reason.startswith(
        "answered by a shorter way; a new one while loading: it ended itself with exit status 3"
    )
    assert (placement.state, placement.pid) == (PlacementState.READY, first.pid)
    assert host.ask(first).body["pid"] == first.pid
    behaviour.write_text(json.dumps({}))
    long(host, wait_until)
    wait_until(gone(first.pid))


def test_a_shorter_worker_that_dies_before_the_long_one_is_ready_leaves_its_callers_waiting(host, wait_until):
    first = placed(host, compiled(host, load_seconds=1.0))
    host.target.distrust(NAME)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(gone(first.pid))
    assert host.ask(first).body["config"]["long"]


def test_a_release_whose_compiled_files_are_damaged_is_served_the_long_way_by_the_host_alone(host, wait_until):
    host.target.place(compiled(host, load="damaged"))
    placement = long(host, wait_until)
    assert (placement.long, placement.restarts) == (True, 0)
    assert StateFiles(host.home).is_long(NAME)


def test_a_worker_is_told_the_digest_that_the_compiled_files_must_have(host):
    release = compiled(host)
    assert host.ask(placed(host, release)).body["config"]["digest"] == release.compiled.digest
