"""A control plane as a process of its own: a real engine with a real store and a real Lease, in the world of the
scenarios. `python control_plane.py NAME STORE KUBECONFIG NAMESPACE DIRECTORY [--stop-in-a-tick]`

With `--stop-in-a-tick` the process stops itself, as by SIGSTOP, when its engine is about to store that a release was
built.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "scenarios"))

from lab import Lab

from serinus.backends.sql import SqlStore
from serinus.core.rollout import Phase, Rollout
from serinus.core.text import configure_logging
from serinus.engine import News, World
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.leading import LeaseLeadership, Timing
from serinus.wiring.deciding import Deciders
from serinus.wiring.local import SystemClock
from serinus.wiring.office import Office

TIMING = Timing(duration=5, deadline=3.5, retry=0.3)
VERSIONS = ("5", "6")


def world_of(directory: Path, store: str) -> World:
    lab = Lab(directory)
    for version in VERSIONS:
        lab.register(version)
    return replace(lab.world, store=SqlStore(store), clock=SystemClock())


@contextmanager
def control_plane(*arguments: str | Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of `main`, whose log goes to the file."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, __file__, *map(str, arguments)], stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


class Stopping:
    """A store in which the process stops before it stores that a release was built."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def save(self, rollout: Rollout, *more: Any) -> None:
        if rollout.status.phase is Phase.PLACE:
            os.kill(os.getpid(), signal.SIGSTOP)
        self._store.save(rollout, *more)


def main() -> int:
    name, store, kubeconfig, namespace, directory = sys.argv[1:6]
    stops = "--stop-in-a-tick" in sys.argv
    configure_logging()
    asked, over = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    world = world_of(Path(directory), store)

    def begin(deciding: World) -> Deciders:
        mine: Any = Stopping(deciding.store) if stops else deciding.store
        return Deciders(replace(deciding, store=mine), News(), "https://serinus.example", {})

    cluster = Cluster.connected(Path(kubeconfig), seconds=2.0)
    leadership = LeaseLeadership(cluster, namespace, name, world.store, timing=TIMING)
    announced: Callable[[], None] = lambda: None  # noqa: E731
    Office(world, leadership, begin, announced, over.set).run(asked)
    assert over.is_set()
    return 0 if asked.is_set() else 1


if __name__ == "__main__":
    sys.exit(main())
