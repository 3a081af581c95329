"""The verb `serinus logs`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from serinus.cli.session import Session
from serinus.core.errors import InvalidInput, Unavailable

EVERY = 1.0


def logs(
    at: Session,
    release: Annotated[
        str | None,
        typer.Argument(
            metavar="[RELEASE]", show_default=False, help="The id of a release, as `serinus releases` shows it."
        ),
    ] = None,
    process: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="A process of Serinus: control, host, collector, envoy, mlflow or supervisor.",
        ),
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=10_000, help="Number of lines to show, counted from the end.")
    ] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing new lines until Ctrl-C.")] = False,
) -> None:
    """Show the log of a release's worker, or of a process of Serinus.

    \b
      serinus logs card-fraud-7-3f9a2c -f
      serinus logs --process envoy -n 50
    """
    from serinus.cli.answers import read
    from serinus.resources import LogLines

    if (release is None) == (process is None):
        raise InvalidInput("name a release, or a process with --process", hint="`serinus releases` lists the releases.")
    offset: int | None = None
    while True:
        try:
            answer = at.client.get("/v1/logs", release=release, process=process, lines=lines, after=offset)
        except Unavailable:
            if offset is None:
                raise
            answer = {"lines": [], "offset": offset}  # It is being restarted. The same offset is requested again.
        found = read(LogLines, answer)
        if at.out.as_json:
            for line in found.lines:
                at.out.json({"line": line}, lines=True)
        elif found.lines:
            at.out.plain("\n".join(found.lines))
        if not follow:
            return
        offset = found.offset
        time.sleep(EVERY)
