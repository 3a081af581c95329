"""Whether a release runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from serinus.core.release import Scale


class PlacementState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    SCALED_TO_ZERO = "scaled-to-zero"
    """No process: the first request activates it. As good as ready to the router."""
    FAILED = "failed"
    """Does not come up, or died and is waiting to be started again; `reason` says which."""

    @classmethod
    def _missing_(cls, value: object) -> PlacementState | None:
        return cls.SCALED_TO_ZERO if value == "asleep" else None  # the word of an earlier version


@dataclass(frozen=True, slots=True)
class Placement:
    """What a target knows of one release."""

    release: str
    state: PlacementState
    reason: str = ""
    endpoint: str = ""
    """Where it answers. Target, router and scorer alone take it apart: the absolute path of a Unix socket, or
    `host:port`."""
    pid: int | None = None
    memory_bytes: int | None = None
    """PSS, where it could be read."""
    restarts: int = 0
    load_seconds: float | None = None
    workers: int = 1
    way: str = ""
    """How it predicts: `onnx`, `matrix`, `direct` or `mlflow`."""
    active_since: datetime | None = None
    """When its present worker became ready; None: it has none."""
    long: bool = False
    """It is distrusted: served the long way, or on its way there while `way` still names a shorter one."""
    warm_up_ms: float | None = None
    """Of its first prediction, before it was ready; None: it was not warmed up."""
    scale: Scale | None = None
    """What it was told to have; None: the target does not say."""

    @property
    def answers(self) -> bool:
        """Whether traffic may be sent to it; one that is scaled to zero is activated by it."""
        return self.state in (PlacementState.READY, PlacementState.SCALED_TO_ZERO)
