"""Rows that a faster way answered wrong. They are kept for the proofs and gates of all later versions of the model.

They hold values that callers sent, so errors here name no values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

MOST_ROWS = 200
"""The number of rows of one model that are kept. The newest stay."""
MOST_BYTES = 4 << 20
"""The size of all kept rows of one model, as JSON. Nothing else is written to the store while they are."""


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row. `score` is by the `predict` of the version with this artifact and environment."""

    columns: tuple[str, ...]
    row: Sequence[object]
    """JSON values."""
    score: float | None
    release: str
    artifact: str
    environment: str
    at: datetime
    """The time at which it was found."""


def together(before: Iterable[KeptRow], new: Iterable[KeptRow]) -> Sequence[KeptRow]:
    """Returns the rows that are kept, oldest first. Of equal rows the newest one is."""
    found: dict[str, KeptRow] = {}
    for one in sorted([*before, *new], key=lambda one: one.at):
        text = json.dumps([one.columns, one.row])
        found.pop(text, None)
        found[text] = one
    kept: list[KeptRow] = []
    room = MOST_BYTES
    for text, one in reversed(found.items()):
        if len(kept) < MOST_ROWS and len(text) <= room:
            kept.append(one)
            room -= len(text)
    return kept[::-1]


def to_text(rows: Iterable[KeptRow]) -> str:
    """Returns the rows as JSON. The standard library writes it, because rows may have lone surrogates."""
    return json.dumps(
        [
            {
                "columns": one.columns,
                "row": one.row,
                "score": one.score,
                "release": one.release,
                "artifact": one.artifact,
                "environment": one.environment,
                "at": one.at.isoformat(),
            }
            for one in rows
        ],
        separators=(",", ":"),
    )


def from_text(text: str | bytes) -> Sequence[KeptRow]:
    """Returns the rows in JSON. Raises ValueError where it has no such rows."""
    try:
        return [
            KeptRow(
                tuple(one["columns"]),
                one["row"],
                one["score"],
                one["release"],
                one["artifact"],
                one["environment"],
                datetime.fromisoformat(one["at"]),
            )
            for one in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("this is not a list of kept rows") from None
