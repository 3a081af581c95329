"""What the collector says of itself: `<home>/run/collector-status.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serinus.core.home import Home
from serinus.lib import files

STALE_SECONDS = 15.0
"""A status that is older means that nobody is counting."""


def status_path(home: Home) -> Path:
    return home.run / "collector-status.json"


def write_status(home: Home, status: Mapping[str, Any]) -> None:
    """Whole or not at all; on a full disk into the place of the last one, which is there already."""
    path, text = status_path(home), json.dumps(status)
    try:
        files.write(path, text, durable=False)
    except OSError:
        with path.open("r+") as file:
            file.write(text)
            file.truncate()


def read_status(home: Home) -> Mapping[str, Any] | None:
    """The status of the collector; None where it has not started, or is writing the file."""
    try:
        status = json.loads(status_path(home).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return status if isinstance(status, dict) else None
