from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Yes, part

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the caller; each prediction is recorded with it.")]


def create(
    at: Session,
    name: Name,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", show_default=False, help="That it opens; repeat for more. Without it: all."),
    ] = None,
    owner: Annotated[str, typer.Option(metavar="NAME", show_default=False, help="Who it is for.")] = "",
) -> None:
    """Make a key for a caller of models, who sends it as the header x-api-key. It is shown once.

    From the first key on, callers without one are refused.

    \b
      serinus key create shop
      serinus key create payments --model fraud --model chargeback
    """
    made = at.client.post("/v1/keys", {"name": name, "models": model or None, "owner": owner})
    if at.out.as_json:
        at.out.json(made)
        return
    typer.echo(made["message"], err=True)
    print(made["key"])


def list_(at: Session) -> None:
    """Every key, without its secret.

    \b
      serinus key list
    """
    found = at.client.get("/v1/keys")
    if at.out.as_json:
        at.out.json(found)
        return
    rows = [
        [
            key["name"],
            key["owner"],
            "all" if key["models"] is None else ", ".join(key["models"]),
            key["issued_at"][:19] + "Z",
            (key["revoked_at"] or "")[:19],
        ]
        for key in found
    ]
    at.out.table(["name", "owner", "models", "issued", "revoked"], rows)


def revoke(at: Session, name: Name, yes: Yes = False) -> None:
    """Make a key worthless, from the caller's next request on.

    \b
      serinus key revoke shop --yes
    """
    at.out.confirm(f"Revoke the key {name}?", yes=yes)
    answer = at.client.delete(f"/v1/keys/{part(name)}")
    at.out.json(answer) if at.out.as_json else at.out.line(answer["message"])
