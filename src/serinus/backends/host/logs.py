"""A worker's output file, kept small."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from serinus.backends.host.records import file_name
from serinus.core.home import Home

LARGEST = 10 * 1024 * 1024
"""Bytes, before it becomes the second file."""


def log_path(home: Home, release_id: str) -> Path:
    return home.logs / f"release-{file_name(release_id)}.log"


def rotate(path: Path, largest: int = LARGEST) -> None:
    """Copies and empties it, because the worker that writes to it outlives the host and never opens it again.

    A line that is written between the two steps is lost.
    """
    if path.exists() and path.stat().st_size > largest:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
