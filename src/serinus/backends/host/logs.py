"""A worker's output file, kept small."""

from __future__ import annotations

import os
from pathlib import Path

from serinus.backends.host.records import file_name
from serinus.core.home import Home


def log_path(home: Home, release_id: str) -> Path:
    return home.logs / f"release-{file_name(release_id)}.log"


def zygote_log(home: Home, key: str) -> Path:
    return home.logs / f"zygote-{key}.log"


def rotate(path: Path, largest: int) -> None:
    """Copies its last `largest` bytes and empties it, because the worker that writes to it outlives the host and never
    opens it again. However fast that writes, no more is kept.

    A line that is written between the two steps is lost. Raises OSError.
    """
    if not path.exists() or path.stat().st_size <= largest:
        return
    aside, new = path.with_name(path.name + ".1"), path.with_name(path.name + ".new")
    with path.open("rb") as log, new.open("wb") as kept:
        log.seek(-largest, os.SEEK_END)
        kept.write(log.read(largest))
    new.replace(aside)
    os.truncate(path, 0)
