"""Sockets of the home that was saved become those of the home that is made of it. Nothing else there has paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from serinus.core.home import Home
from serinus.wiring.backup.archive import Manifest


def move(place: Path, manifest: Manifest, home: Home) -> None:
    """What lies in `place` is written for `home`. Raises OSError."""
    # The longer one first, as the sockets may lie in the home.
    changes = [(manifest.sockets, str(home.sockets)), (manifest.home, str(home.path))]
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
