"""The segments that a version of the table holds."""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable

APPLICATION = "serinus-prediction-log"
"""The name under which the table stores the last segment that it holds."""


def last_segment(path: Path) -> int:
    """Returns the number of the last segment in the table at `path`. 0: there is none."""
    return taken_by(DeltaTable(path)) if DeltaTable.is_deltatable(str(path)) else 0


def taken_by(table: DeltaTable) -> int:
    """Returns the number of the last segment in this version of the table."""
    return table.transaction_version(APPLICATION) or 0
