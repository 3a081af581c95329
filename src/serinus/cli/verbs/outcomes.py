from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from serinus.cli.session import Session
from serinus.core.values import Label

BATCH = 5000


def import_(
    at: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, Parquet or JSON lines.")],
) -> None:
    """Attach labels to predictions by request id; late, repeated and corrected ones are welcome.

    Columns: request_id, label, and optionally observed_at and source. Importing a file again changes nothing.

    \b
      serinus outcomes import chargebacks.csv
    """
    from serinus.outcomes import read_labels

    received = changed = 0
    for batch in _batches(read_labels(file, datetime.now(UTC))):
        answer = at.client.post("/v1/outcomes", batch)
        received += answer["received"]
        changed += answer["changed"]
        if at.out.live:
            at.out.line(f"{received:,} so far")
    if at.out.as_json:
        at.out.json({"received": received, "changed": changed})
        return
    at.out.line(f"{received:,} outcomes imported, {changed:,} of them new or corrected")


def _batches(labels: Iterable[Label]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(labels)
    while batch := list(islice(rows, BATCH)):
        yield [
            {
                "request_id": one.request_id,
                "label": one.label,
                "observed_at": one.observed_at.isoformat(),
                "source": one.source,
            }
            for one in batch
        ]
