"""The memory of a worker that its target measures only from time to time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serinus.core.placement import Placement, PlacementState
from serinus.engine.steps import examine
from serinus.engine.steps.asking import Subject

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Measuring:
    """Is the target and the clock. A second passes with each look, and the memory is known after some of them."""

    def __init__(self, known_after: int | None, active_since: datetime | None = NOW) -> None:
        self._known_after, self._since, self.looks = known_after, active_since, 0

    def observe(self) -> Mapping[str, Placement]:
        self.looks += 1
        known = self._known_after is not None and self.looks > self._known_after
        size = 70_000_000 if known else None
        return {"fraud-1": Placement("fraud-1", PlacementState.READY, memory_bytes=size, active_since=self._since)}

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.looks)

    @property
    def subject(self) -> Subject:
        gates = SimpleNamespace(memory=2**31)
        world = SimpleNamespace(target=self, clock=self)
        found: Any = SimpleNamespace(
            world=world, release=SimpleNamespace(id="fraud-1"), spec=SimpleNamespace(gates=gates)
        )
        return cast("Subject", found)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "MEASURED_EVERY", 0.0)


@pytest.mark.parametrize("looks", [0, 1, 40])
def test_the_first_measurement_of_a_young_worker_is_waited_for(looks: int) -> None:
    target = Measuring(known_after=looks)
    assert examine._memory(target.subject).used_bytes == 70_000_000
    assert target.looks == looks + 1


def test_a_worker_that_is_never_measured_is_not_waited_for_for_ever() -> None:
    target = Measuring(known_after=None)
    assert examine._memory(target.subject).used_bytes is None
    assert target.looks == 90


def test_a_worker_without_a_beginning_is_not_waited_for() -> None:
    target = Measuring(known_after=5, active_since=None)
    assert examine._memory(target.subject).used_bytes is None
    assert target.looks == 1
