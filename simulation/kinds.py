"""What a kind of stream is: who asks how often, what goes wrong when, and how the counts arrive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from serinus.core.rollout import Policy, Step

CHAMPION, CANARY = 0, 1
BOTH = (CHAMPION, CANARY)
EVENTS = ("errors", "slow", "fallbacks", "alerts", "missing")
HEALTHY: Mapping[str, float] = {"slow": 0.01, "alerts": 0.005}

Outcome = Literal["honest", "clean", "unacceptable", "harmful", "cut off"]
"""honest: aborted in at most alpha of the streams. clean: that, and passed within the horizon. unacceptable: passed in
at most beta of the streams. harmful: that, and aborted within the horizon. cut off: its traffic is taken away."""


@dataclass(frozen=True)
class Incident:
    """A stretch of time in which an arm's requests have an event at another rate."""

    event: str
    arms: tuple[int, ...]
    seconds: float
    rate: float = 1.0
    start: tuple[float, float] = (20.0, 60.0)
    """Seconds from the beginning of the rollout: drawn evenly from this range, for each stream and time."""
    every: float = 0.0
    """Seconds after which it comes again; 0: never."""


@dataclass(frozen=True)
class Kind:
    name: str
    outcome: Outcome
    rate: float = 1_000.0
    """Requests a second, of both arms."""
    entities: int = 0
    """0: every request is of nobody, so that all are independent."""
    tail: float = 0.0
    """Traffic of the k-th entity is proportional to k to the power of -tail; below 1."""
    nameless: float = 0.0
    """Share of the requests without an entity."""
    champion: Mapping[str, float] = field(default_factory=lambda: dict(HEALTHY))
    """Share of requests with such an event."""
    canary: Mapping[str, float] = field(default_factory=dict)
    """Where it differs from the champion."""
    bursts: Mapping[str, int] = field(default_factory=dict)
    """Events of this kind come so many at a time from one entity, request after request. The rate stays."""
    gap: int = 0
    """Looks between the requests of a burst; 0: ten requests a look."""
    sick: Mapping[str, float] = field(default_factory=dict)
    """Share of the canary's traffic that comes from entities which have the event in each of their requests to it."""
    only_nameless: frozenset[str] = frozenset()
    """Events that only requests without an entity have."""
    incidents: tuple[Incident, ...] = ()
    day: float = 0.0
    """Seconds of a day's curve: traffic, and the rates of all events, vary by a factor of three."""
    drift: float = 0.0
    """Seconds in which the rates of both arms double."""
    late: tuple[float, float] = (0.0, 0.0)
    """Seconds that an arm's counts are late."""
    clumps: tuple[float, float] = (0.0, 0.0)
    """Seconds between which an arm's counts stand still."""
    warm_up: float = 0.0
    """Seconds at the beginning of each step in which a fifth of the canary's requests are slow."""
    alternate: float = 0.0
    """Seconds after which the arms' rates are exchanged, again and again."""
    steps: tuple[Step, ...] = (Step(500, 5_000, 20.0, 86_400.0), Step(2_500, 5_000, 20.0, 86_400.0),
                               Step(5_000, 5_000, 20.0, 86_400.0))  # fmt: skip
    policy: Policy = field(default_factory=Policy)
    look: float = 0.5
    """Seconds between looks."""
    seconds: float = 600.0
    """Most that a stream is followed."""

    def rate_of(self, event: str, arm: int) -> float:
        return self.canary.get(event, self.champion.get(event, 0.0)) if arm else self.champion.get(event, 0.0)

    @property
    def active(self) -> tuple[int, ...]:
        """Events that happen at all."""
        named = {*self.champion, *self.canary, *self.sick, *(one.event for one in self.incidents)}
        named |= {"slow"} if self.warm_up else set()
        return tuple(place for place, event in enumerate(EVENTS) if event in named)
