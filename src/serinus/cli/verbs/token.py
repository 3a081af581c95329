from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Yes, part
from serinus.core.errors import Refused, Unavailable
from serinus.core.people import Access

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the person or program; it is in the audit record.")]


def create(
    at: Session,
    name: Name,
    access: Annotated[Access, typer.Option(help="Each role includes the ones before it.")] = Access.VIEW,
    owner: Annotated[
        str,
        typer.Option(metavar="NAME", show_default=False, help="The person or service that it is for. At first: NAME."),
    ] = "",
    plane: Annotated[str, typer.Option(hidden=True, help="`data`: as `serinus key create`.")] = "control",
) -> None:
    """Make a token. It is shown once; only its hash is kept.

    Whoever approves a deployment is not its owner: two tokens of one owner are one person. An owner stays for ever; a
    token that changes hands is revoked, and another is made.

    \b
      serinus token create ci --access deploy --owner anna@bank
      serinus token create laptop --access approve --owner anna@bank
    """
    wanted = {"name": name, "access": access.value, "owner": owner, "plane": plane}
    made = at.client.post("/v1/tokens", wanted)
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


def reset(at: Session, yes: Yes = False) -> None:
    """Put a new token of the role admin into the home's file `token`, and revoke the one before: when it was lost, or
    somebody has seen it. Needs the home's owner; it is in the audit record.

    Where Serinus does not run, the next `serinus up` makes the new one.

    \b
      serinus token reset --yes
    """
    if at.server:
        raise Refused("only the home's owner resets its token", hint="Run this on its machine, with --home.")
    at.out.confirm(f"Replace the token of {at.home.path}?", yes=yes)
    try:
        message = at.owner_client.post("/v1/home/token", {})["message"]
    except Unavailable:
        if at.runs("control"):
            raise
        at.home.token.unlink(missing_ok=True)
        message = "it does not run: the next `serinus up` makes a new token, and revokes the one before"
    at.out.json({"message": message}) if at.out.as_json else at.out.line(message)
