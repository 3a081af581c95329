"""The collector's report about itself: `<home>/run/collector-status.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serinus.core.home import Home
from serinus.lib import files

STALE_SECONDS = 15.0
"""The age from which on a status means that the collector is not running."""
STOPPED = "stopped"
"""The state of a collector that has ended in order."""
WAITING = "waiting"
"""The state of a collector that begins when another one, which counts into the same database, has ended."""


def status_path(home: Home) -> Path:
    """The path of the status."""
    return home.run / "collector-status.json"


def write_status(home: Home, status: Mapping[str, Any]) -> None:
    """Replaces the status as a whole. On a full disk it is written into the existing file."""
    path, text = status_path(home), json.dumps(status)
    try:
        files.write(path, text, durable=False)
    except OSError:
        with path.open("r+") as file:
            file.write(text)
            file.truncate()


def is_waiting(home: Home) -> bool:
    """Whether the collector waits for its turn."""
    status = read_status(home) or {}
    return status.get("state") == WAITING and time.time() - float(status.get("at", 0)) <= STALE_SECONDS


def read_status(home: Home) -> Mapping[str, Any] | None:
    """Returns the status. None: the collector has not started, or is writing the file."""
    try:
        status = json.loads(status_path(home).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return status if isinstance(status, dict) else None
