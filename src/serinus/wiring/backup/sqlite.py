"""Copies of SQLite databases that may be in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from serinus.lib import files


def copy(source: Path, target: Path) -> None:
    """As it is at one moment, 0600, whole or not at all. Raises OSError, sqlite3.Error."""
    with (
        files.replacing(target) as new,
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as of,
        closing(sqlite3.connect(new.name)) as to,
    ):
        of.backup(to)
        to.execute("PRAGMA journal_mode = DELETE")  # all of it is in this one file
