"""The verb `serinus spec`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli.session import Session, part

if TYPE_CHECKING:
    from serinus.resources import SpecField, SpecInForce


def spec(
    at: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
) -> None:
    """Show the spec of a model that is in force, and where each value comes from.

    A value comes from a line of the spec in the fleet repository, from the policy of the model, or is the default.
    Values that were changed after the champion was deployed, and that therefore do not apply to it yet, are listed
    below.

    \b
      serinus spec card-fraud
      serinus spec card-fraud --json
    """
    from serinus.cli.answers import read
    from serinus.resources import SpecInForce

    answer = at.client.get(f"/v1/models/{part(model)}/spec")
    if at.out.as_json:
        at.out.json(answer)
        return
    found = read(SpecInForce, answer)
    rows = [[one.field, one.text, _origin(found, one), one.note] for one in found.fields]
    at.out.table(["field", "value", "from", "note"], rows)
    if found.not_yet:
        at.out.line(
            f"{found.release} was deployed with another spec. These values take effect with the next deployment:"
        )
        for late in found.not_yet:
            at.out.line(f"  {late.field}: {late.after} (now {late.before})", style="yellow")


def _origin(found: SpecInForce, one: SpecField) -> str:
    return f"{found.file}:{one.line}" if one.origin == "file" else one.origin
