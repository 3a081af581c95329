"""Which segments a version of the table holds."""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable

APPLICATION = "serinus-prediction-log"
"""Under which the table remembers the last segment that it holds."""


def last_segment(path: Path) -> int:
    """Number of the last segment that the table at `path` holds; 0 where there is none."""
    return taken_by(DeltaTable(path)) if DeltaTable.is_deltatable(str(path)) else 0


def taken_by(table: DeltaTable) -> int:
    """Number of the last segment that this version of the table holds."""
    return table.transaction_version(APPLICATION) or 0
