"""The verb `serinus releases`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli import words
from serinus.cli.session import Session

if TYPE_CHECKING:
    from serinus.resources import ShownRelease


def releases(
    at: Session,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", show_default=False, help="Show only releases of this model.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, max=1000, show_default=False, help="Maximum number of releases to show."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="RELEASE", show_default=False, help="Show only releases that are older than this one."),
    ] = None,
) -> None:
    """List the releases, newest first, with the end of their rollouts.

    \b
      serinus releases card-fraud
      serinus releases --limit 50
    """
    from serinus.cli.answers import read_all
    from serinus.resources import ShownRelease

    answer = at.client.get("/v1/releases", model=model, limit=limit, after=after)
    if at.out.as_json:
        at.out.json(answer)
        return
    found = read_all(ShownRelease, answer)
    if not found:
        at.out.line("No releases yet. `serinus deploy MODEL@VERSION` makes the first.")
        return
    at.out.table(["release", "state", "runs", "served by", "rollout", "reason"], [_row(release) for release in found])
    if len(found) == limit:
        of_model = f" {model}" if model else ""
        at.out.line(f"Older ones: serinus releases{of_model} --limit {limit} --after {found[-1].id}")


def _row(release: ShownRelease) -> list[str]:
    state = "champion" if release.champion else release.phase or ""
    runs, way = words.runs(release.runs), words.served_by(release.way)
    return [release.id, state, runs, way, release.rollout or "", release.reason]
