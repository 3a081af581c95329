"""The division of a model's requests between releases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WHOLE = 10_000
"""All traffic of a model, in the unit of `Arm.weight`."""


class Role(StrEnum):
    """The role of a release in a split."""

    CHAMPION = "champion"
    CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Arm:
    """One release in a split."""

    release: str
    weight: int
    """The share of the traffic, out of `WHOLE`. An arm with weight 0 can only be reached by its release id."""
    role: Role
    endpoint: str
    """The endpoint of the release's placement."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The routing of one model. The weights sum up to `WHOLE`. More than two arms are allowed."""

    model: str
    arms: tuple[Arm, ...]
    split: str
    """A token, `[A-Za-z0-9._:-]+`, that the router adds to every request and the prediction log stores. It identifies
    the split under which a request was answered, and changes with every step of a rollout."""
    salt: str
    """The salt of the entity hash. It is fixed for one rollout, so that a growing canary keeps its entities."""
    timeout_ms: int = 250
    fallback_score: float | None = None
