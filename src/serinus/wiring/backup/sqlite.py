"""Copies of SQLite databases that may be in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from serinus.lib import files


def copy(source: Path, target: Path) -> None:
    """Writes a consistent copy, 0600, which is complete or missing. Raises OSError and sqlite3.Error."""
    with (
        files.replacing(target) as new,
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as of,
        closing(sqlite3.connect(new.name)) as to,
    ):
        of.backup(to)
        to.execute("PRAGMA journal_mode = DELETE")  # The whole copy is in this one file.
