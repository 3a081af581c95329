"""What the engine works with: every port, bundled once by `wiring`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serinus.core.ports import (
    Clock,
    Compiler,
    Environments,
    Fleet,
    PredictionLog,
    Registry,
    Router,
    Scorer,
    Store,
    Target,
    Trials,
)

FREE_BYTES_NEEDED = 1_000_000_000
"""Below this much free disk no new deployment is taken: an environment may need as much, and the log needs the rest."""


@dataclass(frozen=True, slots=True)
class World:
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
    """Where the home is: its free space decides whether new deployments are taken."""
