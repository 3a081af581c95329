"""The verbs `serinus outcomes import` and `serinus outcomes check`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serinus.cli.session import Session
from serinus.cli.words import Document
from serinus.core.errors import InvalidInput, SerinusError
from serinus.core.predictions import Imported, OutcomeMatches

if TYPE_CHECKING:
    from serinus.core.predictions import Labels

ROWS = 10_000
"""The largest number of rows that the API accepts in one request."""
LARGEST = 3 * 2**20
"""The largest request in bytes. The API accepts 4 MiB."""
PARTS = 300
"""The largest number of requests that the API accepts in one import."""
TELL_SECONDS = 1.0
ATTACH_SECONDS = 600.0

_TEXTS = ("prediction_id", "request_id", "caller", "release", "source")


def import_(
    at: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, Parquet or JSON lines.")],
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT=0|1", show_default=False, help="The meaning of a label other than 0 and 1. May be repeated."
        ),
    ] = None,
) -> None:
    """Import outcomes and attach them to predictions. Late, repeated and corrected outcomes are accepted.

    Columns: label, prediction_id or request_id, and optionally caller, release, observed_at and source. A label is 0
    or 1 (1 for fraud), false or true, or a text that --label explains. A prediction_id is unique; callers get it in
    the header x-serinus-prediction-id. A request_id is chosen by the caller: where several requests of a model have
    the same one, the outcome needs a caller or a release to label one of them.

    A file is imported as a whole or not at all: an error names the line. Importing the same file again changes
    nothing.

    \b
      serinus outcomes import chargebacks.csv
      serinus outcomes import cases.csv --label fraud=1 --label genuine=0
    """
    from serinus.cli.answers import read
    from serinus.outcomes import read_parts
    from serinus.resources import OutcomesReceived

    parts = read_parts(file, datetime.now(UTC), _meanings(label or []), ROWS)
    path, received = f"/v1/outcomes/imports/{secrets.token_hex(16)}", 0
    try:
        told = time.monotonic()
        for number, body in enumerate(body for part in parts for body in bodies(part)):
            if number == PARTS:
                raise InvalidInput(
                    f"{file} holds more outcomes than one import takes: {PARTS:,} requests of up to {ROWS:,}",
                    hint="Split it into several files.",
                )
            received += read(OutcomesReceived, at.client.put_text(f"{path}/parts/{number}", body)).received
            if at.out.live and time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                at.out.line(f"{received:,} outcomes read", style="dim")
        if at.out.live and received:
            at.out.line(f"{received:,} outcomes read; attaching them to predictions", style="dim")
        found = _attach(at, path, file, received) if received else _NOTHING
    except BaseException:
        if received:
            with suppress(SerinusError):  # The parts are deleted after a day in any case.
                at.client.delete(path)
        raise
    if at.out.as_json:
        at.out.json({"received": received, **found})
        return
    imported = read(Imported, found)
    at.out.line(f"{received:,} outcomes imported, {imported.changed:,} of them new or corrected")
    _tell_of_the_rest(at, imported.unknown, imported.ambiguous)


def _attach(at: Session, path: str, file: Path, received: int) -> Document:
    found: Document = at.client.post(path, {"name": file.name, "rows": received}, seconds=ATTACH_SECONDS)
    return found


_NOTHING = {"outcomes": 0, "changed": 0, "unknown": 0, "ambiguous": 0}


def check(at: Session) -> None:
    """Show how many outcomes label a prediction, and why the others do not.

    \b
      serinus outcomes check
    """
    from serinus.cli.answers import read

    answer = at.client.get("/v1/outcomes")
    if at.out.as_json:
        at.out.json(answer)
        return
    found = read(OutcomeMatches, answer)
    labelling = found.outcomes - found.unmatched - found.ambiguous
    at.out.line(f"{found.outcomes:,} outcomes, of which {labelling:,} label a prediction")
    _tell_of_the_rest(at, found.unmatched, found.ambiguous)


def _tell_of_the_rest(at: Session, unknown: int, ambiguous: int) -> None:
    if unknown:
        at.out.line(f"{unknown:,} {'names a request' if unknown == 1 else 'name requests'} not in the log")
    if ambiguous:
        at.out.line(
            f"{ambiguous:,} {'is' if ambiguous == 1 else 'are'} ambiguous: several requests of a model have that "
            "request_id; name the prediction_id, or the caller or the release as well",
            style="yellow",
        )


def _meanings(given: Sequence[str]) -> Mapping[str, int]:
    found = {}
    for one in given:
        text, _, meaning = one.rpartition("=")
        if not text or meaning not in ("0", "1"):
            raise InvalidInput("--label is not TEXT=0 or TEXT=1", hint="Write it as `--label fraud=1`.")
        found[text] = int(meaning)
    return found


def bodies(part: Labels) -> Iterator[str]:
    """Yields the part in the form of the API, in as many requests as needed."""
    columns: dict[str, Sequence[Any]] = {"label": part.label}
    columns |= {name: texts for name in _TEXTS if any(texts := getattr(part, name))}
    moments = {moment: moment.isoformat() for moment in set(part.observed_at)}
    columns["observed_at"] = [moments[one] for one in part.observed_at]
    yield from _within(columns)


def _within(columns: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    body, rows = json.dumps(columns), len(columns["label"])
    if len(body) <= LARGEST or rows == 1:
        yield body
        return
    for half in (slice(None, rows // 2), slice(rows // 2, None)):
        yield from _within({name: values[half] for name, values in columns.items()})
