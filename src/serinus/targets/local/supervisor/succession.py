"""Replaces the processes of another version one after another, while callers are served.

The process that decides is stopped first and started last, so that it never communicates with processes of another
version.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from serinus.core.errors import SerinusError
from serinus.targets.local.supervisor.checks import Check
from serinus.targets.local.supervisor.leaving import GOODBYE
from serinus.targets.local.supervisor.process_manager import ProcessManager, ProcessSpec

log = logging.getLogger(__name__)

SECONDS = 90.0
"""The time limit for the answer of one process."""
_ENOUGH = 3
"""The number of times that a new process may end before it is no longer waited for."""


class Stop(Protocol):
    """Says whether the supervisor was told to stop."""

    wanted: bool


def succeed(
    manager: ProcessManager, specs: Sequence[ProcessSpec], checks: Sequence[Check], stop: Stop, pause: float
) -> str:
    """Replaces the outdated processes. Returns why it stopped early, in words, if one of them did not come up. The
    processes replaced by then stay, and all are kept running. Empty if all of them answer."""
    deciding = [spec.name for spec in specs if spec.decides]
    names = [name for name in in_order(specs) if name in set(manager.outdated) - set(deciding)]
    log.info("another version runs: replacing %s", ", ".join([*names, *deciding]))
    for name in deciding:
        manager.hold(name)
    trouble = next(filter(None, (_replace(manager, name, checks, stop, pause) for name in [*names, *deciding])), "")
    for name in deciding:
        manager.release(name)
    if trouble:
        log.error("%s", trouble)
    return trouble


def in_order(specs: Sequence[ProcessSpec]) -> Sequence[str]:
    """The names in the order of replacing. It is the order of starting, except for processes that keep something for
    another one in the meantime."""
    place = {spec.name: float(number) for number, spec in enumerate(specs)}
    place |= {spec.name: place[spec.after] + 0.5 for spec in specs if spec.after in place}
    return sorted(place, key=place.__getitem__)


def _replace(manager: ProcessManager, name: str, checks: Sequence[Check], stop: Stop, pause: float) -> str:
    """Returns what went wrong, in words."""
    # Only the control process, which comes last, says whether the registry is read.
    wanted = [check for check in checks if check.process == name and name != "mlflow"]
    _until(manager, stop, pause, GOODBYE, lambda: not manager.leaving(name))
    if stop.wanted:
        return ""
    try:
        manager.replace(name)
    except (SerinusError, OSError) as error:
        return f"{name} cannot be replaced: {error}"
    before = manager.ends(name)

    def answers() -> bool:
        return manager.answers(name) and all(check.answers() for check in wanted)

    _until(manager, stop, pause, SECONDS, lambda: answers() or manager.ends(name) - before >= _ENOUGH)
    if stop.wanted or answers():
        return ""
    why = f" ({name}: {ended})" if (ended := manager.why_ended(name)) else ""
    return f"{name} of the new version did not come up{why}"


def _until(manager: ProcessManager, stop: Stop, pause: float, seconds: float, holds: Callable[[], bool]) -> None:
    """Keeps everything running for at most `seconds`, as long as `holds` is not true."""
    deadline = time.monotonic() + seconds
    while not holds() and not stop.wanted and time.monotonic() < deadline:
        manager.round()
        time.sleep(pause)
