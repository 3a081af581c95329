"""How releases run. Only reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from serinus.core.errors import SerinusError
from serinus.core.placement import Placement
from serinus.engine.world import World


class Running(TypedDict):
    """The fields of a placement that people see."""

    memory_bytes: int | None
    restarts: int
    workers: int
    way: str
    remarks: str


def placements_of(world: World) -> Mapping[str, Placement]:
    """Returns placements by release. Empty where the target does not answer."""
    try:
        return world.target.observe()
    except SerinusError:
        return {}


def running(placed: Placement | None) -> Running:
    """Returns the fields of a placement that people see."""
    return {
        "memory_bytes": placed.memory_bytes if placed else None,
        "restarts": placed.restarts if placed else 0,
        "workers": placed.workers if placed else 0,
        "way": placed.way if placed else "",
        "remarks": placed.reason if placed else "",
    }


def runs(placed: Placement | None) -> str:
    """Returns `ready`, or with more than one worker `ready × 3`."""
    if placed is None:
        return "not running"
    return f"{placed.state.value} × {placed.workers}" if placed.workers > 1 else placed.state.value
