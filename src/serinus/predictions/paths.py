"""The paths of the prediction log in a home."""

from __future__ import annotations

from pathlib import Path

from serinus.core.home import Home


def segments_path(home: Home) -> Path:
    """The directory of the segments."""
    return home.predictions / "segments"


def table_path(home: Home) -> Path:
    """The directory of the Delta table, where it is on this machine."""
    return home.predictions / "delta"


def counts_path(home: Home) -> Path:
    """The database of the counts."""
    return home.predictions / "counts.db"


def writer_path(home: Home) -> Path:
    """The name of the collector of this disk, under which the table stores which segments it holds."""
    return home.predictions / "writer"


def outcomes_path(home: Home) -> Path:
    """The database of the outcomes."""
    return home.predictions / "outcomes.db"


def imports_path(home: Home) -> Path:
    """The directory of imports that are not attached yet."""
    return home.predictions / "imports"


def lock_path(home: Home) -> Path:
    """The lock of the collector."""
    return home.predictions / "collector.lock"


def local_replies_path(home: Home) -> Path:
    """Envoy's access log of the requests that it has answered itself."""
    return home.envoy / "local.jsonl"
