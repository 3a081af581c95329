"""Stores by what names them on the command line: a home, a backup, or a file with the URL of a PostgreSQL database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serinus.backends import sql
from serinus.core.errors import Refused
from serinus.core.home import Home
from serinus.lib import files, locks
from serinus.targets.local.supervisor import directories, state
from serinus.targets.local.supervisor import settings as chosen
from serinus.wiring.backup import archive, contents

_COMPRESSED = b"\x1f\x8b"
"""The first bytes of a backup."""


@files.umask(0o077)
def copy_store(source: Path, destination: Path) -> Mapping[str, int]:
    """Copies the store of `source` into the empty one of `destination`. Returns the number of rows by table.

    Each is a home that does not run, or a file with the URL of a database that no control plane uses. `source` may be a
    backup. Raises Refused, InvalidInput and Unavailable, and has copied nothing then.
    """
    with _source(source) as before, _named(destination) as after:
        return sql.copy_store(before, after)


@contextmanager
def _source(path: Path) -> Iterator[str]:
    """Yields the URL of the store."""
    if path.is_dir():
        if not Home(path).store.exists():
            raise Refused(f"{path} has no store.", hint="Name the home of a Serinus that was started.")
    elif _is_backup(path):
        with tempfile.TemporaryDirectory() as place:
            store = Home(Path(place)).store
            archive.extracted(path, store.parent, contents.known, wanted=lambda name: name == store.name)
            yield f"sqlite:///{store}"
        return
    with _named(path) as url:
        yield url


@contextmanager
def _named(path: Path) -> Iterator[str]:
    """Yields the URL of the store. A home is not started until the block ends."""
    if not path.is_dir():
        yield sql.url_in(path)
        return
    home = Home(path.resolve())
    if chosen.load(home) is None:
        raise Refused(f"{home.path} is not a Serinus home.", hint="Name the directory that `serinus up --home` names.")
    with locks.held(home.path / directories.UP_LOCK, seconds=0) as lock:
        if lock is None or state.find(home, state.SUPERVISOR) is not None or state.running(home):
            raise Refused(f"Serinus runs in {home.path}.", hint=f"End it: `serinus down --home {home.path}`.")
        yield f"sqlite:///{home.store}"


def _is_backup(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_COMPRESSED)) == _COMPRESSED
    except OSError:  # It is said when the URL is read.
        return False
