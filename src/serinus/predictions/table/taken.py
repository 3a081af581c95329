"""The segments that a version of the table holds.

Each commit of a segment says whose segment it is, and its number. A table in a bucket may have several writers: the
collector of a pod that is going, and the one that takes its place with a disk of its own.
"""

from __future__ import annotations

from deltalake import DeltaTable

from serinus.predictions.table.places import Place, opened

APPLICATION = "serinus-prediction-log"
"""The name under which tables of earlier versions, which had one writer, store the last segment that they hold."""


def application(writer: str) -> str:
    """Returns the name under which the table stores the last segment of `writer`."""
    return f"{APPLICATION}/{writer}" if writer else APPLICATION


def last_segment(place: Place, writer: str) -> int:
    """Returns the number of the last segment of `writer` in the table. 0: there is none. Raises as `opened` does."""
    table = opened(place)
    return taken_by(table, writer) if table else 0


def taken_by(table: DeltaTable, writer: str) -> int:
    """Returns the number of the last segment of `writer` in this version of the table."""
    return max(table.transaction_version(name) or 0 for name in (APPLICATION, application(writer)))
