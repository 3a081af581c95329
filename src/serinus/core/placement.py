"""Placements: releases on a target, and their state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from serinus.core.release import Release, Scale


class PlacementState(StrEnum):
    """The state of a placement."""

    STARTING = "starting"
    READY = "ready"
    SCALED_TO_ZERO = "scaled-to-zero"
    """It has no process, and the first request activates it. The router sends traffic to it as to a ready one."""
    FAILED = "failed"
    """It could not start, or it has crashed and waits to be started again. `reason` says which."""

    @classmethod
    def _missing_(cls, value: object) -> PlacementState | None:
        return cls.SCALED_TO_ZERO if value == "asleep" else None  # The value that an earlier version stored.


@dataclass(frozen=True, slots=True)
class Recorded:
    """A release as it was placed last, by a record that outlives the store."""

    release: Release
    """`created_at` may be any time."""
    scale: Scale
    long: bool = False
    """The release is distrusted, see `Placement.long`."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The state of one release on a target."""

    release: str
    state: PlacementState
    reason: str = ""
    endpoint: str = ""
    """The address of the release: the absolute path of a Unix socket, or `host:port`. Only the target, the router and
    the scorer interpret it."""
    pid: int | None = None
    memory_bytes: int | None = None
    """The proportional set size (PSS) of its processes. None: it has none, or it could not be read."""
    restarts: int = 0
    crashes: int = 0
    """The number of workers in a row that ended by themselves soon after they were ready, or before."""
    load_seconds: float | None = None
    workers: int = 1
    way: str = ""
    """How it predicts: `onnx`, `matrix`, `direct` or `mlflow`."""
    active_since: datetime | None = None
    """The time at which its present worker became ready. None: it has no worker."""
    long: bool = False
    """The release is distrusted. It is served by the model's own `predict`, or will be while `way` still names a faster
    one."""
    warm_up_ms: float | None = None
    """The duration of its first prediction, before it was ready. None: it was not warmed up."""
    scale: Scale | None = None
    """The scale that the target was last given. None: unknown."""
    scaled: bool = True
    """All workers that answer have that scale. False: a worker still has the one that it was started with before."""
    unsettled: str = ""
    """Why it must not get more traffic for now, in words: what runs may not be what the target was told. Empty: nothing
    is known against it."""
    expected: int = 0
    """The number of workers that it keeps at the least, as it was last told. 0: as many as its load needs."""
    capacity: int | None = None
    """The number of workers that answer it within a second when they are needed. None: unknown."""
    most: int | None = None
    """The largest number of workers that it may have. None: unknown."""

    @property
    def answers(self) -> bool:
        """Whether the router may send traffic to it. A placement that is scaled to zero is activated by a request."""
        return self.state in (PlacementState.READY, PlacementState.SCALED_TO_ZERO)
