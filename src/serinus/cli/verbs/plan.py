"""The verb `serinus plan`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli.session import Session
from serinus.core.errors import InvalidInput, SerinusError

if TYPE_CHECKING:
    from serinus.core.merged import ChangedFile
    from serinus.resources import Difference


class Format(StrEnum):
    """The form of the output."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def plan(
    at: Session,
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIRECTORY]",
            show_default=False,
            help="A directory in a checkout of the fleet repository. Default: the current directory.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="REV",
            show_default=False,
            help="The commit before the change. Default: where the change has left the default branch.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="REV", show_default=False, help="The commit with the change. Default: the working tree."
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="The form of the output; markdown is for a comment on a pull request.")
    ] = Format.TEXT,
) -> None:
    """Show what a change of the fleet repository would do once it is merged. Nothing is changed.

    Only Git and the files are read: no cluster, no MLflow, no credentials. For each changed file of a model it says
    whether it deploys another release, and by which steps, changes only the scale, rolls back, or does nothing.
    Mistakes are told as Serinus would tell them after the merge. With --server, the control plane there is asked what
    it knows of the live releases and of the traffic.

    Exit code 0: the change would be carried out; 1: a part of it has a mistake; 2: git or the server gives no answer.

    \b
      serinus plan
      serinus plan --from HEAD^1 --to HEAD --format markdown
    """
    from serinus.cli.plan_words import in_markdown, in_text
    from serinus.wiring.merge_plan import plan as planned

    try:
        found = planned(
            directory or Path(), since=since, until=until, ask=(lambda file: _asked(at, file)) if at.server else None
        )
    except SerinusError as error:
        # 1 means that the change has a mistake. A failure must not look like that.
        raise InvalidInput(error.message, hint=error.hint) from error
    if at.out.as_json or form is Format.JSON:
        at.out.json(found.model_dump(mode="json"))
    elif form is Format.MARKDOWN:
        at.out.plain(in_markdown(found))
    else:
        for line in in_text(found):
            at.out.line(line.text, style=line.style)
    raise typer.Exit(0 if found.ok else 1)


def _asked(at: Session, file: ChangedFile) -> Difference:
    from serinus.cli.answers import read
    from serinus.resources import Difference

    request = {"spec": file.text, "spec_name": file.path, "model": file.model}
    return read(Difference, at.client.post("/v1/diff", request))
