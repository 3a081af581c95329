"""Saves a home to a file."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from serinus.core.errors import InvalidInput, Refused, Unavailable
from serinus.core.home import Home
from serinus.targets.local.supervisor import settings as chosen
from serinus.wiring.backup import archive, contents
from serinus.wiring.predictions import table_place


@dataclass(frozen=True, slots=True)
class Saved:
    """A backup."""

    path: Path
    files: int
    size: int
    """The size of the archive in bytes."""


def save(home: Home, path: Path) -> Saved:
    """Saves `home`, which may be running, to the file `path`, 0600, because it contains the home's secrets.

    Raises Refused (there is no home, or `path` is in it), InvalidInput and Unavailable. Nothing is left behind then.
    """
    home = Home(home.path.resolve())
    settings = chosen.load(home)
    if settings is None:
        raise Refused(f"{home.path} is not a Serinus home", hint="Name it: `serinus backup FILE --home DIR`.")
    if path.is_dir():
        raise InvalidInput(f"{path} is a directory", hint="Name a file, for instance serinus.backup.")
    if path.resolve().is_relative_to(home.path):
        raise Refused(f"{path} is inside the home that is being saved", hint="Name a file on another disk.")
    try:
        with archive.written(path) as writer:
            contents.take(home, writer, table_place(home, settings))
            now = datetime.now(UTC).isoformat(timespec="seconds")
            of = str(home.path), str(home.sockets)
            writer.end(archive.Manifest(archive.FORMAT, version("serinus"), now, *of, writer.files))
    except (OSError, EOFError, sqlite3.Error) as error:
        said = getattr(error, "strerror", None) or str(error)
        at = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        raise Unavailable(
            f"no backup was written to {path}: {said}{at}", hint="Correct that, then try again."
        ) from error
    return Saved(path, len(writer.files), path.stat().st_size)
