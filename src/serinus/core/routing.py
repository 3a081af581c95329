"""How a model's requests are divided between releases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WHOLE = 10_000
"""All of a model's traffic, in the unit of `Arm.weight`."""


class Role(StrEnum):
    """The role of a release in a split."""

    CHAMPION = "champion"
    CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Arm:
    release: str
    weight: int
    """Out of `WHOLE`. An arm of weight 0 gets no traffic but is there to be reached by its release id."""
    role: Role
    endpoint: str
    """Of its placement."""


@dataclass(frozen=True, slots=True)
class Routing:
    """All that the router needs for one model. Weights sum up to `WHOLE`; more than two arms are allowed."""

    model: str
    arms: tuple[Arm, ...]
    split: str
    """A token, `[A-Za-z0-9._:-]+`, which the router adds to every request, and the prediction log keeps: it says
    under which split a request was answered. Changes with every step of a rollout."""
    salt: str
    """Of the entity hash: fixed for one rollout, so that growing a canary keeps those that were in it."""
    timeout_ms: int = 250
    fallback_score: float | None = None
