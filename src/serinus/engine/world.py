"""The ports that the engine uses, bundled by `wiring`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serinus.core.ports import (
    Clock,
    Compiler,
    Environments,
    Fleet,
    PredictionLog,
    Recording,
    Registry,
    Router,
    Scorer,
    Store,
    Target,
    Trials,
)

FREE_BYTES_NEEDED = 1_000_000_000
"""The free disk space, in bytes, below which no new deployment is accepted. An environment may need as much, and the
log needs the rest."""


@dataclass(frozen=True, slots=True)
class World:
    """All ports of the engine."""

    registry: Registry
    environments: Environments
    compiler: Compiler
    target: Target
    router: Router
    log: PredictionLog
    fleet: Fleet
    trials: Trials
    scorer: Scorer
    store: Store
    clock: Clock
    disk: Path
    """The directory whose file system must have free space for new deployments."""
    recording: Recording | None = None
    """By which champions are known where the store is lost. None: there is no such record."""
