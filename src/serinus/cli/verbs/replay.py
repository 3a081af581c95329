"""The verb `serinus replay`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from serinus.cli.session import Session

if TYPE_CHECKING:
    from serinus.replay import Report, Source

Column = Annotated[str | None, typer.Option(metavar="COLUMN", show_default=False)]


def replay(
    at: Session,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|LOG", help="CSV, Parquet, or the directory or s3:// address of a log's table."),
    ],
    model: Annotated[str, typer.Option(metavar="MODEL", help="The model to send requests to.")],
    rate: Annotated[float, typer.Option(metavar="N", help="Requests per second, sent at a constant rate.")],
    entity: Column = None,
    id_column: Annotated[str | None, typer.Option("--id", metavar="COLUMN", show_default=False)] = None,
    label: Column = None,
    outcomes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Write labels here, for `serinus outcomes import`."),
    ] = None,
    passes: Annotated[int, typer.Option(min=1, help="How many times to send the whole file.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, show_default=False, help="Total number of requests.")] = None,
    connections: Annotated[int, typer.Option(min=1, max=1024)] = 32,
    protocol: Annotated[Literal["oip", "invocations"], typer.Option()] = "oip",
    fresh_entities: Annotated[bool, typer.Option("--fresh-entities", help="Use new entity ids in every pass.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Timeout of a request.")] = 5.0,
    api_key: Annotated[str | None, typer.Option(metavar="KEY", envvar="SERINUS_API_KEY", show_default=False)] = None,
) -> None:
    """Send the rows of a file, or the requests of a prediction log, at a fixed rate.

    The load is an open loop: each request is due at a fixed time, however fast the answers are, and its latency is
    measured from that time. The report shows separately how late the generator itself was. The columns of --entity
    (sent as x-entity-id), --id (part of the request ids) and --label (the outcome) are not sent as inputs. Ctrl-C ends
    the replay and prints the report. Exit code 1: a request failed.

    \b
      serinus replay transactions.csv --model card-fraud --rate 2000 --entity card_id --label is_fraud
      serinus replay .serinus/predictions/delta --model card-fraud --rate 500
    """
    from serinus.replay import LogSource, OutcomesFile, open_source, run
    from serinus.wiring.predictions import is_log, prediction_rows

    envoy = at.envoy()
    with ExitStack() as stack:
        source: Source
        if is_log(file):
            source = LogSource(stack.enter_context(prediction_rows(file)), model)
        else:
            source = open_source(Path(file), entity=entity, id=id_column, label=label)
        report = run(
            source,
            envoy,
            model,
            rate=rate,
            connections=connections,
            limit=limit,
            passes=passes,
            protocol=protocol,
            api_key=api_key,
            context=at.callers_context(envoy),
            fresh_entities=fresh_entities,
            timeout=timeout,
            on_progress=_progress(at),
            outcomes=stack.enter_context(OutcomesFile(outcomes)) if outcomes else None,
        )
    if at.out.as_json:
        at.out.json(report.as_dict())
    else:
        at.out.line(report.text())
    raise typer.Exit(1 if report.failed or report.unanswered else 0)


class _progress:  # noqa: N801 - reads as what it does
    def __init__(self, at: Session) -> None:
        self._at = at
        self._said = 0

    def __call__(self, report: Report) -> None:
        """Prints once a second on a terminal, and every ten seconds in a pipe."""
        if self._at.out.as_json:
            return
        if not self._at.out.live and report.seconds < self._said + 10:
            return
        self._said = int(report.seconds)
        failed = sum(report.failed.values())
        self._at.out.line(f"{report.seconds:4.0f} s: {report.answered:,} answered, {failed:,} failed", style="dim")
