"""What was measured of kills, as a table in the documentation."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from whole_load import Load


def write_rows(document: Path, heading: str, rows: Iterable[str]) -> None:
    """Replaces the rows of the table whose heading begins with `heading`, where SERINUS_WRITE_DOCS=1."""
    if os.environ.get("SERINUS_WRITE_DOCS") != "1":
        return
    before, found, after = document.read_text().partition(heading)
    assert found, f"{document} has no table {heading!r}"
    text = "\n".join(rows)
    document.write_text(
        before + found + re.sub(r"(\|---.*\|\n)(\|.*\n)*", lambda one: f"{one[1]}{text}\n", after, count=1)
    )


def failures(load: Load) -> str:
    """How many requests failed, and how; empty: none."""
    return ", ".join(f"{count} {how}" for how, count in load.in_words().most_common())


def lost(load: Load, records: pl.DataFrame) -> set[str]:
    """Answered requests without a record."""
    return load.answered - set(records.filter(pl.col("status") == 200)["request_id"])
