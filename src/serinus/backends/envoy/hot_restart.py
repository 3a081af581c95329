"""Envoy's hot restart, by which one Envoy takes over the listening sockets of another one.

The first Envoy of a home has epoch 0, and each successor the next one.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from serinus.backends.envoy import outliving
from serinus.core.home import Home

GOODBYE_SECONDS = 30
"""The time after which a replaced Envoy ends, whatever is still in flight."""
_DRAIN_SECONDS = 5
_MEMORY = Path("/dev/shm")  # noqa: S108  where shm_open(3) puts it
_EPOCH, _BASE, _SOCKETS = outliving.FIRST, "--base-id", "--socket-path"


def possible() -> bool:
    """Whether there is shared memory, and Envoy can be kept from ending with its parent."""
    return platform.machine() in outliving.MACHINES and os.access(_MEMORY, os.W_OK)


def options(home: Home, before: Sequence[str] = ()) -> list[str]:
    """Returns the last options of an Envoy's command. `before` is the command of the Envoy that it replaces."""
    given = values(before)
    epoch = int(given[_EPOCH]) + 1 if _EPOCH in given else 0
    mine = {_BASE: str(_base(home)), _SOCKETS: str(home.sockets / "h")}
    return [
        *(_EPOCH, str(epoch)),
        *(word for name, value in mine.items() for word in (name, given.get(name, value))),
        *("--socket-mode", "600"),
        *("--drain-strategy", "immediate"),
        *("--drain-time-s", str(_DRAIN_SECONDS)),
        *("--parent-shutdown-time-s", str(GOODBYE_SECONDS)),
        "--skip-hot-restart-parent-stats",  # Statistics start from zero, as after every other start.
    ]


def started_by(command: Sequence[str]) -> list[str]:
    """Returns `command` for an Envoy that outlives its parent."""
    return [sys.executable, "-I", "-S", str(outliving.__file__), *command]


def values(command: Sequence[str]) -> Mapping[str, str]:
    """Returns the values of the options."""
    return {word: value for word, value in pairwise(command) if word.startswith("--")}


def memory(home: Home) -> Path:
    """Returns the file of the shared memory, which Envoy creates and does not remove."""
    return _MEMORY / f"envoy_shared_memory_{10 * _base(home)}"


def _base(home: Home) -> int:
    """Returns a number that differs for every home and user. Envoys with the same number would take each other's
    sockets."""
    return int(hashlib.sha256(f"{os.geteuid()} {home.path}".encode()).hexdigest()[:6], 16)
