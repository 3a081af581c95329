from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session


def releases(
    at: Session,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", show_default=False, help="Only of this one.")
    ] = None,
) -> None:
    """Every release, newest first, with what became of it.

    \b
      serinus releases card-fraud
    """
    found = at.client.get("/v1/releases", model=model)
    if at.out.as_json:
        at.out.json(found)
        return
    if not found:
        at.out.line("No releases yet. `serinus deploy MODEL@VERSION` makes the first.")
        return
    rows = [
        [r["id"], "champion" if r["champion"] else r["phase"] or "", r["placement"], r["rollout"] or "", r["reason"]]
        for r in found
    ]
    at.out.table(["release", "state", "runs", "rollout", "reason"], rows)
