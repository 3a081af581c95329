"""What the host writes down as its own doing, and what it leaves to the release."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from serinus.core.disturbance import LONGEST, Cause, Disturbance
from serinus.core.placement import PlacementState
from serinus.core.release import Scale
from serinus.disturbances import Disturbances, Journal
from serinus.lib.processes import identity
from serinus.targets.local.host import disturbing, starving
from serinus.targets.local.host.disturbing import MOST, SETTLED, Disturbing
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.starving import LATE, OWN, Sign, Starving


def written(hosted) -> Sequence[Disturbance]:
    """In the order in which they began."""
    found = Disturbances(hosted.home.disturbances).within(0, time.time() + 3600)
    return sorted(found, key=lambda one: one.since)


def over(hosted, cause: Cause) -> Disturbance | None:
    """The first one of the cause, once its end is known."""
    return next((one for one in written(hosted) if one.cause is cause and one.until is not None), None)


def test_a_release_that_is_new_is_disturbed_by_nobody(host) -> None:
    host.placed()
    assert written(host) == []


def test_an_activation_is_written_down_before_anybody_is_answered_and_lasts_for_the_first_requests(
    hosted, wait_until
) -> None:
    hosted.start("--idle", "0.3", "--young", "0", "--busiest", "0", "--survey", "0.1")
    first = hosted.placed(load_seconds=0.5)
    at_zero = hosted.until(first.release, PlacementState.SCALED_TO_ZERO)
    wait_until(lambda: identity(first.pid) is None)  # until it is gone it may still answer
    began = time.time()
    assert hosted.ask(at_zero).status == 200
    answered = time.time()
    activated = wait_until(lambda: over(hosted, Cause.ACTIVATION))
    assert began <= activated.since <= answered
    assert answered + SETTLED - 1 <= activated.until <= answered + SETTLED + 1
    assert activated.model == "card fraud"


def test_a_worker_beside_one_of_an_earlier_host_is_the_platforms_doing(hosted, wait_until) -> None:
    hosted.start()
    hosted.placed()
    hosted.kill()
    hosted.start()
    assert wait_until(lambda: over(hosted, Cause.RESTART)).model == "card fraud"


def test_a_host_that_is_stopped_says_so_of_every_model(hosted) -> None:
    hosted.start()
    hosted.placed()
    hosted.stop()
    assert [(one.cause, one.model) for one in written(hosted)] == [(Cause.RESTART, "")]


def test_a_worker_that_ends_by_itself_again_and_again_is_the_releases_own_doing(hosted, wait_until) -> None:
    hosted.start()
    first = hosted.placed()
    hosted.kill()
    hosted.start()
    wait_until(lambda: over(hosted, Cause.RESTART))
    known = written(hosted)
    pid = hosted.until(first.release, PlacementState.READY, but=first.pid).pid
    for restarts in (1, 2):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: hosted.target.observe()[first.release].restarts >= restarts)  # noqa: B023
        pid = hosted.until(first.release, PlacementState.READY, but=pid).pid
    assert written(hosted) == known


def test_one_that_fails_to_load_after_a_restart_is_excused_for_its_first_try_alone(hosted, wait_until) -> None:
    hosted.start()
    placed = hosted.placed()
    hosted.stop()
    hosted.release(placed.release, load="fail")
    hosted.start()
    wait_until(lambda: hosted.target.observe()[placed.release].restarts >= 2)
    of_its_own = [one for one in written(hosted) if one.model]
    assert [one.cause for one in of_its_own] == [Cause.RESTART]
    assert of_its_own[0].until is not None


def test_one_more_worker_is_the_platforms_doing(hosted, wait_until) -> None:
    hosted.start("--survey", "0.1")
    placed = hosted.placed(scale=Scale(max_workers=2))
    callers = [threading.Thread(target=lambda: hosted.ask(placed, seconds=2)) for _ in range(4)]
    for caller in callers:
        caller.start()
    wait_until(lambda: over(hosted, Cause.SCALING))
    for caller in callers:
        caller.join()


# --- how often --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [Cause.ACTIVATION, Cause.SCALING])
def test_what_a_release_can_bring_about_itself_is_excused_a_few_times_an_hour(tmp_path: Path, cause: Cause) -> None:
    now = [0.0]
    release = Disturbing(Journal(tmp_path, "host"), "fraud", lambda: now[0])

    def excused() -> int:
        before = len(Disturbances(tmp_path).within(0, 1e12))
        for _ in range(3 * MOST):
            now[0] += 1
            with release.by(cause):
                pass
        return len(Disturbances(tmp_path).within(0, 1e12)) - before

    assert excused() == MOST
    now[0] += disturbing._HOUR
    assert excused() == MOST
    with release.by(Cause.RESTART):
        assert any(one.cause is Cause.RESTART for one in Disturbances(tmp_path).within(0, 1e12))


# --- a machine without processors -------------------------------------------------------------------------

STARVED, CALM = Sign(2 * LATE, 0.9), Sign(0.0, 0.1)


@pytest.fixture
def starved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """look(sign, share): a look half a second after the last one, in which the model's worker used `share` of the
    processors; what is known then of disturbances."""
    clock, used = [1000.0], [0.0]
    monkeypatch.setattr(starving, "cpu_seconds", lambda pid: used[0])
    journal = Journal(tmp_path, "host", lambda: clock[0])
    made = Starving(journal, Limits(cores=2), {})
    seen = Disturbances(tmp_path)

    def look(sign: Sign, share: float = 0.0) -> Sequence[Disturbance]:
        before, clock[0] = clock[0], clock[0] + 0.5
        used[0] += share * 2 * 0.5
        made.look(sign, {"fraud": [7]}, before, clock[0])
        return seen.within(clock[0], clock[0])

    return look


def test_a_starved_machine_is_written_down_from_the_look_before_until_it_is_calm(starved) -> None:
    assert not starved(CALM)
    (found,) = starved(STARVED)
    assert (found.cause, found.model, found.since, found.until) == (Cause.STARVED, "fraud", 1000.5, None)
    assert len(starved(CALM)) == 1, "one calm look is not the end"
    for _ in range(4):
        starved(CALM)
    assert not starved(CALM)


def test_a_model_that_uses_the_processors_itself_is_not_excused(starved) -> None:
    starved(CALM)
    assert not any(starved(STARVED, share=OWN + 0.1) for _ in range(10))
    assert starved(STARVED, share=OWN - 0.1)


def test_one_that_goes_on_is_believed_for_as_long_as_it_is_told(starved) -> None:
    assert all(starved(STARVED) for _ in range(int(2 * 2 * LONGEST)))


@pytest.mark.parametrize(
    ("sign", "starved"),
    [
        (Sign(2 * LATE, 0.9), True),
        (Sign(2 * LATE, None), True),
        (Sign(2 * LATE, 0.0), False),  # the host was late for another reason
        (Sign(LATE / 2, 1.0), False),  # who wants a processor gets one
    ],
)
def test_what_a_starved_machine_is(sign: Sign, starved: bool) -> None:
    assert sign.starved is starved
