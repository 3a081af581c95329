"""Replaces the paths of the saved home's sockets by those of the new home. No other files contain paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from serinus.core.home import Home
from serinus.wiring.backup.archive import Manifest


def move(place: Path, manifest: Manifest, home: Home) -> None:
    """Rewrites the files in `place` for `home`. Raises OSError."""
    # The longer path comes first, because the sockets may lie in the home.
    changes = [(manifest.sockets, str(home.sockets)), (manifest.home, str(home.path))]
    for path in (place / "envoy" / "xds").glob("*.json"):  # It is rendered again whenever Envoy starts.
        path.write_text(moved(path.read_text(encoding="utf-8"), changes), encoding="utf-8")


def moved(text: str, changes: Sequence[tuple[str, str]]) -> str:
    """Returns JSON text in which strings that are a path in `changes`, or below one, are replaced."""
    for before, after in changes:
        for ascii_only in (True, False):
            old, new = (json.dumps(path, ensure_ascii=ascii_only)[1:-1] for path in (before, after))
            for end in ("/", '"', '\\"'):  # The last form is JSON within a string of JSON.
                text = text.replace(f'"{old}{end}', f'"{new}{end}')
    return text
