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
    """Attach labels to predictions; late, repeated and corrected ones are welcome.

    Columns: label, prediction_id or request_id, and optionally caller, release, observed_at and source. A prediction_id
    (answered as x-serinus-prediction-id) is unique. A request_id is the caller's: one that several requests of a model
    have labels none of them, unless caller or release tell them apart. Importing a file again changes nothing.

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


def check(at: Session) -> None:
    """How many outcomes label a prediction, and why the others do not.

    \b
      serinus outcomes check
    """
    found = at.client.get("/v1/outcomes")
    if at.out.as_json:
        at.out.json(found)
        return
    labelling = found["outcomes"] - found["unmatched"] - found["ambiguous"]
    at.out.line(f"{found['outcomes']:,} outcomes, of which {labelling:,} label a prediction")
    if found["unmatched"]:
        at.out.line(f"{found['unmatched']:,} name a request that is not in the log")
    if found["ambiguous"]:
        at.out.line(
            f"{found['ambiguous']:,} are ambiguous: several requests of a model have that request_id; "
            "name the prediction_id, or the caller or the release as well",
            style="yellow",
        )


def _batches(labels: Iterable[Label]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(labels)
    while batch := list(islice(rows, BATCH)):
        yield [
            {
                "prediction_id": one.prediction_id,
                "request_id": one.request_id,
                "caller": one.caller,
                "release": one.release,
                "label": one.label,
                "observed_at": one.observed_at.isoformat(),
                "source": one.source,
            }
            for one in batch
        ]
