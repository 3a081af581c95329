"""The verb `serinus rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Why, Yes, part
from serinus.cli.verbs.deploy import follow


def rollback(
    at: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE|VERSION",
            show_default=False,
            help="The release to return to. Default: the champion before.",
        ),
    ] = None,
    reason: Why = "",
    detach: Annotated[bool, typer.Option("--detach", help="Order the rollback and return at once.")] = False,
    yes: Yes = False,
) -> None:
    """Give all traffic back to an earlier release, at once. Ends the rollout in flight.

    \b
      serinus rollback card-fraud --reason "alerts doubled"
      serinus rollback card-fraud --to card-fraud-5-9be011 --yes
    """
    at.out.confirm(f"Roll {model} back to {to or 'the champion before'}?", yes=yes)
    begun = at.client.post(f"/v1/models/{part(model)}/rollback", {"to": to, "why": reason})
    follow(at, begun, detach=detach)
