"""The verbs `serinus promote`, `serinus abort` and `serinus approve`."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Why, Yes, part
from serinus.cli.words import say

Rollout = Annotated[
    str, typer.Argument(metavar="ROLLOUT|MODEL", help="A rollout, or the model whose rollout is in flight.")
]


def promote(at: Session, rollout: Rollout, reason: Why = "") -> None:
    """Give a canary full traffic now, before the judge has decided.

    \b
      serinus promote card-fraud --reason "known good since yesterday"
    """
    _order(at, rollout, "promote", reason)


def abort(at: Session, rollout: Rollout, reason: Why = "", yes: Yes = False) -> None:
    """Abort a rollout. All traffic returns to the champion.

    Its version is not deployed again by its alias, only by a new `deploy` with a reason.

    \b
      serinus abort card-fraud --reason "complaints from support"
      serinus abort card-fraud-r12 --yes
    """
    at.out.confirm(f"Abort {rollout}? All traffic returns to the champion.", yes=yes)
    _order(at, rollout, "abort", reason)


def approve(at: Session, rollout: Rollout, reason: Why = "") -> None:
    """Approve a rollout, so that its canary begins. The requester cannot approve it: it takes a token of another owner,
    with the role approve.

    \b
      serinus approve card-fraud-r12
    """
    _order(at, rollout, "approve", reason)


def _order(at: Session, rollout: str, kind: str, reason: str) -> None:
    say(at, at.client.post(f"/v1/rollouts/{part(rollout)}/orders", {"kind": kind, "why": reason}))
