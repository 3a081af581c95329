"""A control plane falls asleep before an act of its engine, another one takes over and ends the rollout, and then the
first one wakes in the middle of its tick. It does not know how long it slept: its clock stood still as well."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lab import READS, Breaking, Counter, Lab, breaking
from leaders import Leader
from test_killed import abortion, prepared, promotion, rollback

from serinus.core.errors import Superseded
from serinus.core.rollout import Phase
from serinus.engine import Desk
from serinus.engine.world import World
from serinus.wiring.office import deciding

pytestmark = pytest.mark.long


class Sleeper(Counter):
    """Whose `at`-th act is held until another control plane has done `meanwhile`."""

    def __init__(self, at: int, meanwhile: Callable[[], None]) -> None:
        super().__init__(at, after=False)
        self.meanwhile = meanwhile
        self.woken = False
        self.refused: list[str] = []

    def call(self, name: str, act: Callable[[], Any]) -> Any:
        if name in READS:
            return act()
        self.seen += 1
        self.calls.append(name)
        if self.seen == self.at:
            self.meanwhile()
            self.woken = True
        try:
            return act()
        except Superseded:
            self.refused.append(name)
            raise


class Fenced(Breaking):
    """A port that compares terms as the gateways' Secret and the admission policy do."""

    def __init__(self, port: Any, lab: Lab, leader: Leader) -> None:
        self._port, self._lab, self._leader = port, lab, leader

    def __getattr__(self, name: str) -> Any:
        if name not in READS and self._lab.store.last_term()[0] > self._leader.term():
            raise Superseded("another control plane decides")
        return getattr(self._port, name)


def decided(lab: Lab, leader: Leader) -> World:
    world = deciding(lab.world, leader)
    return replace(world, target=Fenced(lab.world.target, lab, leader), router=Fenced(lab.world.router, lab, leader))


def asleep_at(lab: Lab, story: Callable[[Lab], None], at: int) -> tuple[Lab, Sleeper]:
    first, second = Leader(1), Leader(2)

    def take_over() -> None:
        lab.store.begin_term(2, "b")
        lab.restart(decided(lab, second))
        lab.run(400, until=lambda: lab.phase.ended and not lab.store.in_flight() and not lab.store.pending())
        lab.run(10)

    sleeper = Sleeper(at, take_over)
    lab.store.begin_term(1, "a")
    lab.restart(breaking(decided(lab, first), sleeper))
    lab.desk = Desk(lab.world)  # people may ask any of them
    with suppress(Superseded):  # The loop of the first one reports it, and ends with the term.
        story(lab)
    lab.run(40)
    assert not second.ended
    return lab, sleeper


def decisions(lab: Lab) -> list[str]:
    return [kind for kind in lab.kinds() if kind != "progress"]


@pytest.mark.parametrize(
    ("story", "live", "phase"),
    [(promotion, "7", Phase.PROMOTED), (abortion, "6", Phase.ABORTED), (rollback, "5", Phase.PROMOTED)],
    ids=["promotion", "abortion", "rollback"],
)
@pytest.mark.timeout(400)
def test_asleep_before_every_act_the_first_one_stores_nothing_more_and_stops(
    directory: Path, story: Callable[[Lab], None], live: str, phase: Phase
) -> None:
    before = prepared(directory / "before")
    undisturbed, whole = asleep_at(before.copied(directory / "whole"), story, at=0)
    assert whole.seen > 10
    refused = 0
    for at in range(1, whole.seen + 1):
        here = directory / str(at)
        lab, sleeper = asleep_at(before.copied(here), story, at)
        when = f"asleep before act {at}, {sleeper.calls[at - 1]}"
        assert sleeper.woken, when
        refused += len(sleeper.refused) > 0
        assert lab.phase is phase, f"{when}: {lab.rollout.status}"
        lab.everything_agrees_on(live)
        assert decisions(lab) == decisions(undisturbed), when
        assert lab.store.audit_broken_at() is None, when
        assert lab.store.in_flight() == [], when
        lab.store.close()
        shutil.rmtree(here)
    assert refused > whole.seen / 2
