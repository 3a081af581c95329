"""Paths of the home that was saved become those of the home that is made of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from serinus.core.home import Home
from serinus.wiring.backup.archive import Manifest

_DOCUMENT = "document"
"""The column of the store in which JSON is kept."""


def move(place: Path, manifest: Manifest, home: Home) -> None:
    """What lies in `place` is written for `home`. Raises OSError, sqlite3.Error."""
    # The longer one first, as the sockets may lie in the home.
    changes = [(manifest.sockets, str(home.sockets)), (manifest.home, str(home.path))]
    _move_store(place / home.store.name, changes)
    for path in (place / "envoy" / "xds").glob("*.json"):  # rendered anew whenever Envoy starts
        path.write_text(moved(path.read_text(encoding="utf-8"), changes), encoding="utf-8")


def moved(text: str, changes: Sequence[tuple[str, str]]) -> str:
    """JSON in which strings that are a path before `changes`, or one below it, are that after them."""
    for before, after in changes:
        for ascii_only in (True, False):
            old, new = (json.dumps(path, ensure_ascii=ascii_only)[1:-1] for path in (before, after))
            for end in ("/", '"', '\\"'):  # the last one in JSON that is a string in JSON
                text = text.replace(f'"{old}{end}', f'"{new}{end}')
    return text


def _move_store(path: Path, changes: Sequence[tuple[str, str]]) -> None:
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as store, store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {row[1] for row in store.execute(f'PRAGMA table_info("{table}")')}
            if _DOCUMENT not in columns:
                continue
            for row, text in store.execute(f'SELECT rowid, {_DOCUMENT} FROM "{table}"').fetchall():  # noqa: S608
                if (changed := moved(text, changes)) != text:
                    store.execute(f'UPDATE "{table}" SET {_DOCUMENT} = ? WHERE rowid = ?', (changed, row))  # noqa: S608
