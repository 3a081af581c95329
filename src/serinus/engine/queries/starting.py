"""Which problems are only a start that has not finished. Nobody is warned of these."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from serinus.core.placement import Placement, PlacementState

SECONDS = 60.0
"""The time after the start of a process within which what depends on it may not work yet."""
_NEEDS = {"routing": "envoy", "aliases": "mlflow"}
"""The process that must run, by the first word of a problem that the engine reports."""


def started_lately(processes: Sequence[Mapping[str, Any]], now: datetime) -> frozenset[str]:
    """Returns the names of the processes that have run for at most `SECONDS`."""
    return frozenset(p["name"] for p in processes if p["state"] == "running" and now.timestamp() - p["since"] < SECONDS)


def is_starting(placed: Placement | None, lately: Collection[str]) -> bool:
    """Whether a champion does not answer yet and nothing is wrong. A worker that has failed before is not starting."""
    if placed is None:
        return "host" in lately or "control" in lately
    return placed.state is PlacementState.STARTING and not placed.restarts and not placed.reason


def without_starting(trouble: Sequence[str], lately: Collection[str], *, champion: bool) -> list[str]:
    """Returns the engine's problems with a model, without those of a start. `champion`: the champion is starting."""
    return [line for line in trouble if not _expected(line.partition(":")[0], lately, champion)]


def _expected(subject: str, lately: Collection[str], champion: bool) -> bool:
    return _NEEDS.get(subject, "") in lately or (champion and subject == "routing")
