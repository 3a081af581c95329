"""What is promised of a kind of stream, and whether what was found keeps it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from simulation.kinds import Kind
from simulation.run import Found

SLACK = 1.5
"""Times the promised share up to which the upper bound of what was found may lie."""
MISSED = 0.05
"""Share of clean streams that may be left open, and of harmful ones that may be neither aborted nor cut off."""
_WIDTH = 58


@dataclass(frozen=True)
class Result:
    kind: Kind
    found: Found

    @property
    def against(self) -> tuple[tuple[int, float], ...]:
        """What must not happen: how often it did, and in which share of the streams it may."""
        found, policy = self.found, self.kind.policy
        aborted, passed = (found.aborted, policy.alpha), (found.passed, policy.beta)
        return {
            "honest": (aborted,),
            "clean": (aborted, (found.streams - found.passed, MISSED)),
            "unacceptable": (passed,),
            "harmful": (passed, (found.streams - found.aborted, MISSED)),
            "cut off": (passed, (found.streams - found.aborted - found.tripped, MISSED)),
        }[self.kind.outcome]

    @property
    def ok(self) -> str:
        """`yes`: the upper bounds keep the promise. `no`: the lower ones break it. Else more streams are needed."""
        streams = self.found.streams
        if any(lower(events, streams) > goal for events, goal in self.against):
            return "no"
        return "yes" if all(upper(events, streams) <= SLACK * goal for events, goal in self.against) else "too few"

    @property
    def at_most(self) -> float:
        """Upper bound of the probability of what must not happen first of all."""
        return upper(self.against[0][0], self.found.streams)

    def line(self) -> str:
        found = self.found
        goal = self.against[0][1]
        held = found.streams - found.aborted - found.passed
        return (
            f"{self.kind.name:<{_WIDTH}} {self.kind.outcome:<12} {found.streams:>7,} {found.aborted:>7,}"
            f" {found.passed:>6,} {held:>6,} {self.at_most:>7.2%} {goal:>5.0%} {self.ok:>7}"
            f" {_median(found.requests):>9} {_median(found.seconds):>7} {_median(found.until_abort):>7}"
        )


def heading() -> str:
    return (
        f"{'kind':<{_WIDTH}} {'outcome':<12} {'streams':>7} {'aborted':>7} {'passed':>6} {'held':>6} {'at most':>7}"
        f" {'goal':>5} {'ok':>7} {'requests':>9} {'s pass':>7} {'s abort':>7}"
    )


def upper(events: int, streams: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of a probability."""
    return 1.0 if events >= streams else float(beta.ppf(confidence, events + 1, streams - events))


def lower(events: int, streams: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided lower bound of a probability."""
    return 0.0 if events == 0 else float(beta.ppf(1.0 - confidence, events, streams - events + 1))


def _median(values: Sequence[float]) -> str:
    middle = float(np.median(values)) if values else math.nan
    return "-" if math.isnan(middle) else f"{middle:,.0f}"
