"""The output files of workers, which are kept small."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from serinus.core.errors import InvalidInput
from serinus.core.home import Home
from serinus.core.storage import Stored
from serinus.lib import files
from serinus.targets.local.host.state_files import file_name


def log_path(home: Home, release_id: str) -> Path:
    """Returns the log of a release."""
    return home.logs / f"release-{file_name(release_id)}.log"


def zygote_log(home: Home, key: str) -> Path:
    """Returns the log of a zygote."""
    return home.logs / f"zygote-{key}.log"


def rotate(path: Path, largest: int) -> None:
    """Copies the last `largest` bytes and empties the file, because the worker outlives the host and never opens it
    again. A fast writer does not make the copy larger.

    A line that is written between the two steps is lost. Raises OSError.
    """
    if not path.exists() or path.stat().st_size <= largest:
        return
    with path.open("rb") as log:
        log.seek(-largest, os.SEEK_END)
        files.write(path.with_name(path.name + ".1"), log.read(largest), durable=False)
    os.truncate(path, 0)


class ReleaseLogs:
    """Implements `core.storage.Storage` for the output of workers, by release."""

    kind = "logs"

    def __init__(self, home: Home) -> None:
        self._home = home

    def stored(self) -> Sequence[Stored]:
        """Returns the logs that exist, with their sizes and the times of their last use."""
        found: dict[str, list[Path]] = {}
        for path in self._home.logs.glob("*.log*"):
            end = next((f".log{more}" for more in _PARTS if path.name.endswith(f".log{more}")), None)
            if end is not None and path.name.startswith(_RELEASE):
                found.setdefault(unquote(path.name.removeprefix(_RELEASE).removesuffix(end)), []).append(path)
        return [one for name, paths in found.items() if (one := _stored(name, paths)) is not None]

    def remove(self, name: str, since: float) -> bool:
        """Removes the log of a release that has not been used since `since`. Returns whether it was removed."""
        try:
            log = log_path(self._home, name)
        except InvalidInput:  # No release has this name.
            return False
        parts = [path for more in _PARTS if (path := log.with_name(log.name + more)).exists()]
        found = _stored(name, parts)
        if found is None or found.used_at >= since:
            return False
        for path in parts:
            path.unlink(missing_ok=True)
        return True


_RELEASE = "release-"
_PARTS = ("", ".1", ".1.new", ".new")  # The log of an earlier version.


def _stored(name: str, paths: Sequence[Path]) -> Stored | None:
    """Returns the logs of a release. None: they have disappeared."""
    try:
        written = max((path.stat().st_mtime for path in paths), default=None)
    except FileNotFoundError:
        return None
    return None if written is None else Stored(name, tuple(paths), written)
