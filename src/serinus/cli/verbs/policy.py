"""The verb `serinus policy`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from serinus.cli.session import Session, Why, part
from serinus.cli.words import say


class Approval(StrEnum):
    """Whether a rollout of the model needs an approval."""

    NONE = "none"
    REQUIRED = "required"


def policy(
    at: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    approval: Annotated[
        Approval | None,
        typer.Option(
            show_default=False, help="Whether each version must be approved by a person other than the requester."
        ),
    ] = None,
    reason: Why = "",
) -> None:
    """Show or set whether each version of a model must be approved before it gets traffic.

    A spec that requires an approval sets this policy. A spec that does not leaves the policy unchanged. Loosening it
    needs the role approve. Versions that the same owner deploys after that still need an approval.

    \b
      serinus policy card-fraud
      serinus policy card-fraud --approval required
      serinus policy card-fraud --approval none --reason "agreed with risk on 3 March"
    """
    from serinus.cli.answers import read
    from serinus.resources import HeldPolicy

    path = f"/v1/models/{part(model)}/policy"
    if approval is None:
        answer = at.client.get(path)
        held = read(HeldPolicy, answer)
        but = f", except what {held.except_of} or an alias deploys" if held.except_of else ""
        at.out.json(answer) if at.out.as_json else at.out.line(f"{model}: approval {held.approval}{but}")
    else:
        say(at, at.client.put(path, {"approval": approval.value, "why": reason}))
