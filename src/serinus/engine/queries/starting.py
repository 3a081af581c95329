"""What is only starting: after `serinus up`, a restart or a deployment it is expected, and nobody is warned of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from serinus.core.placement import Placement, PlacementState

SECONDS = 60.0
"""After the start of a process of Serinus, within which what needs it may not be there yet."""
_NEEDS = {"routing": "envoy", "aliases": "mlflow"}
"""Of what the engine reports, by its first word: the process that has to be up for it."""


def started_lately(processes: Sequence[Mapping[str, Any]], now: datetime) -> frozenset[str]:
    """Names of the supervisor's records whose process runs since `SECONDS` at most."""
    return frozenset(p["name"] for p in processes if p["state"] == "running" and now.timestamp() - p["since"] < SECONDS)


def is_starting(placed: Placement | None, lately: Collection[str]) -> bool:
    """Whether a champion does not answer yet, and nothing is wrong with it. A worker that has failed before is not
    among those."""
    if placed is None:
        return "host" in lately or "control" in lately
    return placed.state is PlacementState.STARTING and not placed.restarts and not placed.reason


def without_starting(trouble: Sequence[str], lately: Collection[str], *, champion: bool) -> list[str]:
    """What is left of the engine's trouble with a model. `champion`: it is starting, so it cannot be routed to yet."""
    return [line for line in trouble if not _expected(line.partition(":")[0], lately, champion)]


def _expected(subject: str, lately: Collection[str], champion: bool) -> bool:
    return _NEEDS.get(subject, "") in lately or (champion and subject == "routing")
