"""What lets one Envoy take over the listening sockets of another one: Envoy's hot restart, and its traces.

The first Envoy of a home has the epoch 0, and each that takes over has the next one.
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
"""After which an Envoy that was replaced ends, whatever is still under way."""
_DRAIN_SECONDS = 5
_MEMORY = Path("/dev/shm")  # noqa: S108  where shm_open(3) puts it
_EPOCH, _BASE, _SOCKETS = outliving.FIRST, "--base-id", "--socket-path"


def possible() -> bool:
    """Shared memory is there, and Envoy can be kept from ending with its parent."""
    return platform.machine() in outliving.MACHINES and os.access(_MEMORY, os.W_OK)


def options(home: Home, before: Sequence[str] = ()) -> list[str]:
    """The last ones of an Envoy's command. `before`: the command of the one that it takes over from."""
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
        "--skip-hot-restart-parent-stats",  # what is counted begins at its start, as after every other start
    ]


def started_by(command: Sequence[str]) -> list[str]:
    """`command`, of an Envoy that outlives whoever starts it."""
    return [sys.executable, "-I", "-S", str(outliving.__file__), *command]


def values(command: Sequence[str]) -> Mapping[str, str]:
    """Option -> value."""
    return {word: value for word, value in pairwise(command) if word.startswith("--")}


def memory(home: Home) -> Path:
    """The file of the shared memory, which Envoy makes and leaves."""
    return _MEMORY / f"envoy_shared_memory_{10 * _base(home)}"


def _base(home: Home) -> int:
    """Different for every home and user: Envoys with the same number would take each other's sockets."""
    return int(hashlib.sha256(f"{os.geteuid()} {home.path}".encode()).hexdigest()[:6], 16)
