"""Builders of counts, and a stream of requests in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from serinus.core.evidence import ArmCounts, Verdict
from serinus.core.rollout import Assessment, Policy, Step
from serinus.judge import StepEvidence, assess

HEALTHY: Mapping[str, float] = {"errors": 0.0, "slow": 0.01, "alerts": 0.005}
STEPS = (Step(500, 2000, 10.0, 600.0), Step(2500, 2000, 10.0, 600.0), Step(5000, 2000, 10.0, 600.0))


def arm(release: str, requests: int, *, entities: int | None = None, **events: int) -> ArmCounts:
    """Every event by another entity."""
    first = {"entities": requests if entities is None else entities, **events}
    answered = requests - events.get("errors", 0)
    return ArmCounts(release, requests, answered, answered, first_in_step=first, first_in_rollout=first, **events)


@dataclass
class Stream:
    """A canary in virtual time: binomial traffic and events, looked at once for every `per_look` requests."""

    seed: int
    steps: tuple[Step, ...] = STEPS
    policy: Policy = field(default_factory=Policy)
    per_look: int = 3000
    seconds_per_look: float = 1.0
    champion: Mapping[str, float] = field(default_factory=lambda: dict(HEALTHY))
    canary: Callable[[int, int], Mapping[str, float]] = lambda step, look: HEALTHY
    factor: Callable[[int], float] = lambda look: 1.0  # of both arms' rates: bursts, sales
    history: list[StepEvidence] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)
    last: Assessment | None = None

    def run(self, most_looks: int = 400) -> Verdict:
        """PROMOTE when every step was passed, ABORT, or what the last look of a step that did not end said."""
        rng = np.random.default_rng(self.seed)
        memory: Mapping[str, Any] = {}
        for index, step in enumerate(self.steps):
            totals = {"champion": {"requests": 0}, "canary": {"requests": 0}}
            for look in range(1, most_looks + 1):
                self._arrive(rng, totals, step, index, look)
                now = StepEvidence(step.weight, arm("v1", **totals["champion"]), arm("v2", **totals["canary"]))
                elapsed = look * self.seconds_per_look
                self.last = assess(self.policy, self.steps, index, self.history, now, memory, elapsed)
                memory = json.loads(json.dumps(self.last.memory))
                if self.last.verdict in (Verdict.PROMOTE, Verdict.ABORT):
                    break
            self.looks.append(look)
            self.history.append(now)
            if self.last.verdict is not Verdict.PROMOTE:
                return self.last.verdict
        return Verdict.PROMOTE

    def _arrive(self, rng: Any, totals: dict[str, dict[str, int]], step: Step, index: int, look: int) -> None:
        requests = int(rng.poisson(self.per_look))
        to_canary = int(rng.binomial(requests, step.weight / 10_000))
        arrivals = (
            ("canary", to_canary, self.canary(index, look)),
            ("champion", requests - to_canary, self.champion),
        )
        for name, n, rates in arrivals:
            totals[name]["requests"] += n
            for event, rate in rates.items():
                happened = int(rng.binomial(n, min(rate * self.factor(look), 1.0)))
                totals[name][event] = totals[name].get(event, 0) + happened


@pytest.fixture
def counts() -> Callable[..., ArmCounts]:
    return arm


@pytest.fixture
def stream() -> type[Stream]:
    return Stream


@pytest.fixture
def healthy() -> Mapping[str, float]:
    return HEALTHY
