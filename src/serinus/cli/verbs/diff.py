"""The verb `serinus diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.session import Session
from serinus.cli.verbs.deploy import read_spec
from serinus.core.errors import InvalidInput, SerinusError


def diff(
    at: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of a ModelDeployment.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", show_default=False, help="The model. Needed where the file does not name it."),
    ] = None,
) -> None:
    """Show what a deployment with FILE would change in the spec that is in force. Nothing is changed.

    Like `deploy`, it estimates how long the canary would take, and warns of settings with which no version can pass.

    Values are compared, not lines: comments, the order of fields, and defaults that are written out make no
    difference.

    Exit code 0: nothing would change; 1: something would change; 2: FILE cannot be read, or Serinus does not answer.

    \b
      serinus diff card-fraud.yaml
      serinus diff card-fraud.yaml && echo "nothing to deploy"
    """
    from serinus.cli.answers import read
    from serinus.resources import Difference

    try:
        answer = at.client.post("/v1/diff", {**read_spec(file), "model": model})
        found = read(Difference, answer)
    except SerinusError as error:
        # 1 means that there are differences, as with `git diff --exit-code`. A failure must not look like that.
        raise InvalidInput(error.message, hint=error.hint) from error
    if at.out.as_json:
        at.out.json(answer)
    else:
        for one in found.changes:
            where = f"{file}:{one.line}" if one.line else "the default"
            at.out.line(f"{one.field}: {one.before} -> {one.after} ({where})")
        if found.same:
            at.out.line(f"{file} says what {found.before} says.")
        for effect in found.effects:
            at.out.line(effect)
        for warning in found.warnings:
            at.out.line(f"warning: {warning}", style="yellow")
    raise typer.Exit(0 if found.same else 1)
