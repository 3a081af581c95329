"""The verb `serinus retire`."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Yes, part
from serinus.cli.verbs.deploy import follow


def retire(
    at: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    reason: Annotated[
        str,
        typer.Option(
            "--reason", "-m", metavar="TEXT", help="The reason, which is kept in the audit record.", show_default=False
        ),
    ],
    abort: Annotated[bool, typer.Option("--abort", help="Abort the rollout of the model that is in flight.")] = False,
    yes: Yes = False,
) -> None:
    """Take a model out of service. Its callers get 410, its workers stop, and its record stays.

    `serinus deploy` brings it back, through all gates. Needs the role admin.

    \b
      serinus retire card-fraud --reason "replaced by card-fraud-eu"
      serinus retire card-fraud --abort --yes --reason "the feed is switched off"
    """
    at.out.confirm(f"Take {model} out of service? All of its callers get an error.", yes=yes)
    begun = at.client.post(f"/v1/models/{part(model)}/retire", {"why": reason, "abort": abort})
    follow(at, begun, detach=False)
