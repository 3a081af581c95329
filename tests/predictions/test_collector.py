"""The collector as a process: what is acknowledged is in the log, once, whatever is killed."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import replace
from pathlib import Path

import pytest

from serinus.core.evidence import Streak, Totals, Watch
from serinus.core.home import Home
from serinus.predictions import DeltaPredictionLog

pytestmark = pytest.mark.long

RELEASE = "card-fraud-7-3f9a2c"
OTHER = "card-fraud-8-aaaaaa"


@pytest.fixture
def log(home: Home) -> DeltaPredictionLog:
    made = DeltaPredictionLog(home)
    made.watch(Watch("s1", "card-fraud-r1", "card-fraud", {RELEASE: 0.9}, slow_ms=50.0))
    return made


def counted(log: DeltaPredictionLog, release: str = RELEASE) -> int:
    counts = (log.counts("s1") or {}).get(release)
    return counts.requests if counts else 0


def test_what_is_acknowledged_can_be_read_at_once_and_is_counted_soon(collector, worker, record, log, until) -> None:
    sender = worker()
    sender.submit([record(number) for number in range(5)])
    sender.settle()
    rows = log.read("card-fraud").sort("request_id").collect()
    assert rows["request_id"].to_list() == [f"request-{number}" for number in range(5)]
    assert rows["release"].unique().to_list() == [RELEASE]
    assert json.loads(rows["inputs"][0]) == [{"amount": 12.5, "hour": 3}]
    until(lambda: counted(log) == 5)
    assert log.traffic("card-fraud", 60)[RELEASE].requests == 5


def test_a_collector_that_is_killed_under_load_loses_nothing_and_counts_nothing_twice(
    collector, worker, record, log, until
) -> None:
    senders, total = [worker(), worker()], 0
    for round_number in range(30):
        for sender in senders:
            sender.submit([record(total + number) for number in range(20)])
            total += 20
        if round_number % 10 == 5:
            # Somewhere between writing, acknowledging, counting and rolling up.
            until(lambda: any(not sender.unacknowledged for sender in senders))
            collector.kill()
            collector.start("--roll-seconds", "0.2")
    for sender in senders:
        sender.settle()
    assert sum(sender.reconnects for sender in senders) >= 6
    until(lambda: counted(log) >= total)
    rows = log.read().collect()
    assert (rows.height, rows["request_id"].n_unique()) == (total, total)
    assert counted(log) == total


def test_stopping_writes_rolls_up_and_counts_all_that_was_handed_in(
    collector, worker, record, local_reply, log
) -> None:
    sender = worker()
    sender.submit([record(number) for number in range(50)])
    local_reply(99)
    sender.settle()
    sender.end()
    assert collector.stop() == 0
    assert collector.status()["state"] == "stopped"
    assert collector.status()["segments"] == 0
    assert log.read().collect().height == 51
    assert log._counts.counts("s1")[RELEASE].requests == 51
    assert not collector.home.log_socket.exists()


def test_on_a_full_disk_nothing_is_acknowledged_or_lost_and_the_status_says_so(
    collector, worker, record, log, until
) -> None:
    sender = worker()
    sender.submit([record(number) for number in range(60)])
    sender.settle()
    # The kernel lets none of the process's files grow beyond this; the segment is larger already.
    unlimited = resource.prlimit(collector.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
    sender.submit([record(60)])
    until(lambda: any("cannot write" in warning for warning in collector.status()["warnings"]))
    assert sender.unacknowledged
    resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, unlimited)
    sender.settle()
    until(lambda: collector.status()["warnings"] == [])
    until(lambda: counted(log) == 61)
    assert sorted(log.read().collect()["request_id"]) == sorted(f"request-{number}" for number in range(61))


def test_records_that_a_worker_had_to_drop_are_a_warning(collector, worker, log, until) -> None:
    sender = worker()
    sender.submit([], dropped=17)
    sender.settle()
    until(lambda: log.warnings() == [f"the prediction log: {RELEASE} dropped 17 records"])


def test_totals_only_grow_over_restarts_and_count_what_was_dropped_once(collector, worker, record, log, until) -> None:
    sender, other = worker(), worker(OTHER)
    sender.submit([record(1), record(2, status=500, error="exception"), record(3, status=422)], dropped=5)
    other.submit([record(4, cached=True), record(5, fallback=True, error="exception")])
    for each in (sender, other):
        each.settle()
    collector.kill()
    collector.start()
    sender.submit([record(6)])
    sender.settle()
    expected = {
        RELEASE: Totals(RELEASE, "card-fraud", requests=4, errors=1, dropped=5),
        OTHER: Totals(OTHER, "card-fraud", requests=2, errors=1, fallbacks=1, cached=1),
    }
    until(lambda: {name: replace(one, streak=Streak()) for name, one in log.totals().items()} == expected)
    before = log.totals()
    collector.stop()
    collector.start()
    assert log.totals() == before


def test_without_a_collector_no_counts_are_known(home, log) -> None:
    assert log.counts("s1") is None


def test_what_the_router_answered_is_logged_once_across_restarts(collector, local_reply, log, until) -> None:
    for number in range(3):
        local_reply(number, status=503, flags="UF")
    until(lambda: log.read().collect().height == 3)
    collector.kill()
    local_reply(3, status=200, flags="UT")
    collector.start()
    until(lambda: counted(log) == 4)
    counts = log.counts("s1")[RELEASE]
    assert (counts.errors, counts.fallbacks, counts.slow, counts.answered) == (4, 1, 4, 0)
    assert log.read().collect().height == 4


def test_an_answer_that_comes_after_the_routers_timeout_is_kept_but_counts_as_the_timeout_alone(
    collector, worker, record, local_reply, log, until
) -> None:
    start = time.time() - 0.3
    sender = worker()
    # The release is heard first, as it is when it answers just too late.
    sender.submit([record(1, t=start + 0.28, ms=280.0), record(2, t=start + 0.28, ms=280.0)])
    sender.settle()
    local_reply(1, t=start, ms=250)
    until(lambda: counted(log) >= 2)
    counts = log.counts("s1")[RELEASE]
    assert (counts.requests, counts.errors, counts.slow, counts.answered) == (2, 1, 2, 1)
    answered = log.read().collect().sort("status")
    assert answered.select("request_id", "status", "error").rows() == [
        ("request-1", 0, "late"),
        ("request-2", 200, None),
        ("request-1", 504, "timeout"),
    ]


def test_the_process_leaves_no_roll_up_behind_when_it_is_killed(collector, worker, record, until) -> None:
    sender = worker()
    sender.submit([record(1)])
    sender.settle()
    collector.kill()
    collector.start()  # which begins by rolling up what is there
    until(lambda: _children(collector.pid))
    children = _children(collector.pid)
    assert children
    collector.kill()
    until(lambda: not any(_alive(child) for child in children))


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
