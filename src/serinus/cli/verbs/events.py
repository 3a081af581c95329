"""The verb `serinus events`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from serinus.cli.session import Session
from serinus.cli.words import utc
from serinus.core.errors import Unavailable
from serinus.core.events import Event

EVERY = 1.0


def events(
    at: Session,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", show_default=False, help="Show only events of this model.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=1000, help="Number of lines to show, counted from the end.")
    ] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing new lines until Ctrl-C.")] = False,
) -> None:
    """Show what has happened, oldest first. With --json, each event is one line.

    \b
      serinus events card-fraud
      serinus events -f --json
    """
    from serinus.cli.answers import read_all

    after, asked = 0, False
    while True:
        try:
            answer = at.client.get("/v1/events", after=after, model=model, limit=1000 if asked else limit)
            asked = True
        except Unavailable:
            if not asked:
                raise
            answer = []  # it is being restarted: nothing is missed, because the number is kept
        for document, event in zip(answer, read_all(Event, answer), strict=True):
            after = event.number
            if at.out.as_json:
                at.out.json(document, lines=True)
            else:
                at.out.line(f"{utc(event.at)}  {event.model}  {event.kind}  {event.text}")
        if not follow:
            return
        time.sleep(EVERY)
