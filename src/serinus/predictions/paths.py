"""Where the prediction log lies in a home."""

from __future__ import annotations

from pathlib import Path

from serinus.core.home import Home


def segments_path(home: Home) -> Path:
    return home.predictions / "segments"


def table_path(home: Home) -> Path:
    return home.predictions / "delta"


def counts_path(home: Home) -> Path:
    return home.predictions / "counts.db"


def outcomes_path(home: Home) -> Path:
    return home.predictions / "outcomes.db"


def imports_path(home: Home) -> Path:
    """Parts of imports of outcomes that are not attached yet."""
    return home.predictions / "imports"


def lock_path(home: Home) -> Path:
    return home.predictions / "collector.lock"


def local_replies_path(home: Home) -> Path:
    """Envoy's access log of what it answered itself."""
    return home.envoy / "local.jsonl"
