"""The account that the demo gives, of rollouts that ended otherwise than they should."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from scenes import rollout
from small_fleet import NOW, Installation

from demo.__main__ import SPEC
from demo.account import Account, check_replay, outcome, print_account
from demo.machine import LEAST_A_SECOND, Machine, measured, settled
from demo.serinus import MODEL, Serinus
from serinus.core.events import Event
from serinus.core.rollout import Cause, ModelState, Phase
from serinus.spec import load

Replay = Callable[[int, int], Mapping[str, Any]]
IDLE, BUSY = Machine(2, 0.99), Machine(2, 0.3)


def aborted_before_there_was_a_release(installation: Installation) -> str:
    ended = replace(
        rollout(1, Phase.ABORTED, reason="Python 3.77 is not on this machine", cause=Cause.ENVIRONMENT), candidate=None
    )
    events = [
        Event(NOW, MODEL, ended.id, "aborted", "card-fraud@7 was stopped"),
        Event(NOW, MODEL, None, "alias", "challenger is 7"),
    ]
    installation.store.create(rollout(1, Phase.RESOLVE))
    installation.store.save(ended, ModelState(MODEL), events)
    return ended.id


def test_a_rollout_that_failed_before_there_was_a_release_is_told_with_its_reason(installation: Installation) -> None:
    wanted = aborted_before_there_was_a_release(installation)
    serinus, account = Serinus(installation.home.path), Account(IDLE)
    assert serinus.json("releases", MODEL) == []
    assert serinus.newest_rollout(MODEL) == wanted
    assert outcome(serinus, account, 1, 0, "promoted") == "Python 3.77 is not on this machine"
    [wrong] = account.wrong
    assert "expected promoted" in wrong


def test_where_no_rollout_was_begun_that_is_said(installation: Installation) -> None:
    with pytest.raises(SystemExit, match="no rollout of card-fraud was begun"):
        Serinus(installation.home.path).newest_rollout(MODEL)


# --- what the machine can give ----------------------------------------------------------------------------


def of_capacity(capacity: float, slow_above: float = float("inf"), failing_above: float = float("inf")) -> Replay:
    """Replays on a machine that answers `capacity` requests a second, slowly or with failures above a rate."""

    def replay(rate: int, limit: int) -> Mapping[str, Any]:
        pressed = rate > capacity
        return {
            "answered": limit,
            "seconds": limit / min(rate, capacity),
            "latency_ms": {"p99": 900.0 if pressed or rate > slow_above else 5.0},
            "failed": {"http 504": 3} if rate > failing_above else {},
        }

    return replay


def test_an_idle_machine_is_asked_for_half_of_what_it_answers_and_not_for_more_than_3000() -> None:
    assert settled(of_capacity(2_000), IDLE).rate == 1_000
    assert settled(of_capacity(20_000), IDLE).rate == 3_000


def test_a_rate_that_is_slow_or_fails_is_halved_and_that_is_said() -> None:
    slow = settled(of_capacity(2_000, slow_above=600), BUSY)
    assert slow.rate == 500
    assert "Of 3,000 requests at 1,000 a second one in a hundred took longer than 900 ms." in slow.said
    failing = settled(of_capacity(2_000, failing_above=300), IDLE)
    assert failing.rate == 250
    assert "3 failed" in failing.said


def test_why_it_is_less_and_how_long_it_takes_is_said() -> None:
    assert settled(of_capacity(400), BUSY).said == (
        "This machine answers 400 requests a second when pressed. Other processes use this machine: a process gets 30% "
        "of one of its 2 processors. The demo asks for 200 a second, so the two canaries take about 7 min."
    )


def test_a_machine_that_gives_almost_nothing_is_told_of_instead_of_failing_later() -> None:
    with pytest.raises(SystemExit, match="Try again when the machine has less to do"):
        settled(of_capacity(2 * LEAST_A_SECOND - 2), BUSY)


def test_only_a_machine_that_others_use_may_fail_one_request_in_a_thousand(capsys: pytest.CaptureFixture[str]) -> None:
    report: Mapping[str, Any] = {"sent": 10_000, "answered": 9_990, "seconds": 10.0, "failed": {"http 504": 10}}
    for machine, wrong in ((IDLE, 1), (BUSY, 0)):
        account = Account(machine)
        check_replay(account, report, machine.failures_allowed(report["sent"]))
        assert len(account.wrong) == wrong
    account = Account(BUSY)
    check_replay(account, {**report, "failed": {"http 504": 11}}, BUSY.failures_allowed(report["sent"]))
    print_account(account)
    told = capsys.readouterr().out
    assert "NOT AS IT SHOULD BE: 11 requests failed, at most 10 may: 11 http 504" in told
    assert "a process gets 30% of one of its 2 processors. That may be the reason." in told


def test_the_latency_gate_has_more_room_only_where_others_use_the_machine() -> None:
    text = SPEC.read_text()
    assert load(IDLE.spec(text)) == load(text)
    given = load(BUSY.spec(text))
    assert given.gates.latency_p99 == timedelta(seconds=1)
    assert given.gates.golden == load(text).gates.golden


def test_the_measured_share_is_one_of_this_machines_processors() -> None:
    found = measured()
    assert found.processors == len(os.sched_getaffinity(0))
    assert 0.0 < found.share <= 1.0
