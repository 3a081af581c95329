"""Long work: what waits for what, and for how long."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from serinus.core.errors import Unavailable, Unbuildable
from serinus.core.release import Environment
from serinus.core.rollout import Cause, Phase
from serinus.engine.reconcile.jobs import A_ROOM, Jobs
from serinus.engine.reconcile.observe import PATIENCE


def eventually(jobs: Jobs, key: str, room: str) -> str | None:
    deadline = time.monotonic() + 10
    while (found := jobs.result(key, lambda: "done", room)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_what_is_quick_does_not_wait_for_ten_builds() -> None:
    jobs = Jobs()
    end = threading.Event()
    try:
        for number in range(10):
            assert jobs.result(f"m{number}/build/", lambda: end.wait(30), "build") is None
        assert eventually(jobs, "other/resolve/", "resolve") == "done"
        assert eventually(jobs, "other/gates/", "gates") == "done"
        assert jobs.result("m9/build/", lambda: False, "build") is None
    finally:
        end.set()
        jobs.stop()


def test_a_room_holds_so_many_at_a_time() -> None:
    jobs = Jobs()
    end, begun = threading.Event(), threading.Semaphore(0)

    def build() -> bool:
        begun.release()
        return end.wait(30)

    try:
        for number in range(A_ROOM + 1):
            jobs.result(f"m{number}/build/", build, "build")
        for _ in range(A_ROOM):
            assert begun.acquire(timeout=10)
        assert not begun.acquire(blocking=False)
        end.set()
        assert begun.acquire(timeout=10)
    finally:
        end.set()
        jobs.stop()


# --- an index that does not answer ------------------------------------------------------------------------


@dataclass
class Away:
    """Environments whose index does not answer until `back`."""

    back: bool = False
    asked: list[int] = field(default_factory=list)
    inner: Any = None

    def prepare(self, requirements, loads, say) -> Environment:
        self.asked.append(1)
        say("resolving mlflow")
        if self.back:
            return self.inner.prepare(requirements, loads, say)
        raise Unavailable("pypi.example.org, where packages come from, does not answer.", delay=5)


@pytest.fixture
def away(tmp_path):
    from lab import ADA, MODEL, Lab

    lab = Lab(tmp_path)
    lab.register("6")
    environments = Away(inner=lab.world.environments)
    lab.world = replace(lab.world, environments=environments)
    lab.restart()
    lab.desk.deploy(ref=f"{MODEL}@6", spec=None, actor=ADA)
    return lab, environments


def progress(lab) -> list[str]:
    return [event.text for event in lab.store.events(limit=10_000) if event.kind == "progress"]


def test_an_index_that_does_not_answer_is_named_at_once_and_not_over_and_over(away) -> None:
    lab, environments = away
    lab.run(120)
    assert lab.phase is Phase.BUILD
    (told,) = [line for line in progress(lab) if "pypi.example.org" in line]
    assert "It is tried again until 12:10 UTC; then the rollout is aborted." in told
    assert progress(lab).count("resolving mlflow") == 1
    assert 120 / 12 <= len(environments.asked) <= 120 / 5


def test_an_index_that_stays_away_stops_the_version_with_that_reason(away) -> None:
    lab, _ = away
    passed = lab.run(3600, until=lambda: lab.phase.ended)
    assert PATIENCE <= timedelta(seconds=passed) <= PATIENCE + timedelta(seconds=60)
    status = lab.rollout.status
    assert (status.phase, status.cause) == (Phase.ABORTED, Cause.ENVIRONMENT)
    assert status.reason.startswith("pypi.example.org, where packages come from, does not answer.")
    assert "tried again for 10 minutes" in status.reason


def test_an_index_that_comes_back_in_time_costs_nothing(away) -> None:
    lab, environments = away
    lab.run(300)
    environments.back = True
    lab.run(60, until=lambda: lab.phase.ended)
    assert lab.phase is Phase.PROMOTED


def test_a_failure_that_no_time_mends_ends_the_build_at_once(away) -> None:
    lab, environments = away
    environments.back = True
    environments.inner = Refusing()
    lab.run(20, until=lambda: lab.phase.ended)
    assert lab.phase is Phase.ABORTED
    assert len(environments.asked) == 1


class Refusing:
    def prepare(self, requirements, loads, say) -> Environment:
        raise Unbuildable("the requirements contradict each other.")


def test_each_phase_of_a_rollout_works_in_a_room_of_its_own(tmp_path) -> None:
    from lab import ADA, MODEL, Inline, Lab

    from serinus.engine import Engine

    rooms: list[tuple[str, str]] = []

    class Watched(Jobs):
        def result(self, key, work, room=""):
            if key.startswith(lab.rollout.id):
                rooms.append((key.split("/")[1], room))
            return super().result(key, work, room)

    lab = Lab(tmp_path)
    lab.engine = Engine(lab.world, Watched(Inline()))
    lab.register("6")
    lab.desk.deploy(ref=f"{MODEL}@6", spec=None, actor=ADA)
    lab.run(20, until=lambda: lab.phase.ended)
    assert set(rooms) == {("resolve", "resolve"), ("build", "build"), ("gates", "gates")}
