from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Yes, part
from serinus.core.values import Access

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the person or program; it is in the audit record.")]


def create(
    at: Session,
    name: Name,
    access: Annotated[Access, typer.Option(help="Each role includes the ones before it.")] = Access.VIEW,
    owner: Annotated[
        str,
        typer.Option(metavar="NAME", show_default=False, help="The person or service that it is for. At first: NAME."),
    ] = "",
) -> None:
    """Make a token. It is shown once; only its hash is kept.

    Whoever approves a deployment is not its owner: two tokens of one owner are one person. An owner stays for ever; a
    token that changes hands is revoked, and another is made.

    \b
      serinus token create ci --access deploy --owner anna@bank
      serinus token create laptop --access approve --owner anna@bank
    """
    made = at.client.post("/v1/tokens", {"name": name, "access": access.value, "owner": owner})
    if at.out.as_json:
        at.out.json(made)
        return
    print(made["token"])


def list_(at: Session) -> None:
    """Every token, without its secret.

    \b
      serinus token list
    """
    found = at.client.get("/v1/tokens")
    if at.out.as_json:
        at.out.json(found)
        return
    rows = [
        [t["name"], t["owner"], t["access"], t["plane"], t["issued_at"][:19] + "Z", (t["revoked_at"] or "")[:19]]
        for t in found
    ]
    at.out.table(["name", "owner", "access", "plane", "issued", "revoked"], rows)


def revoke(at: Session, name: Name, yes: Yes = False) -> None:
    """Make a token worthless at once, sessions of the page included.

    \b
      serinus token revoke ci --yes
    """
    at.out.confirm(f"Revoke the token {name}?", yes=yes)
    answer = at.client.delete(f"/v1/tokens/{part(name)}")
    at.out.json(answer) if at.out.as_json else at.out.line(answer["message"])
