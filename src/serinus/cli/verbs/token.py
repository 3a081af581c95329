"""The verbs `serinus token create`, `list`, `revoke` and `reset`."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Yes, part
from serinus.cli.words import say
from serinus.core.errors import Refused, Unavailable
from serinus.core.people import Access

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token, which is kept in the audit record.")]


def create(
    at: Session,
    name: Name,
    access: Annotated[Access, typer.Option(help="Each role includes the ones before it.")] = Access.VIEW,
    owner: Annotated[
        str,
        typer.Option(
            metavar="NAME", show_default=False, help="The person or service that the token is for. Default: NAME."
        ),
    ] = "",
    plane: Annotated[
        str, typer.Option(hidden=True, help="`data` makes an API key, as `serinus key create` does.")
    ] = "control",
) -> None:
    """Create a token. It is shown once, and only its hash is stored.

    A deployment is approved by another person than its requester, and two tokens of one owner count as one person.
    The owner of a token cannot be changed: revoke the token and make another one.

    \b
      serinus token create ci --access deploy --owner anna@bank
      serinus token create laptop --access approve --owner anna@bank
    """
    wanted = {"name": name, "access": access.value, "owner": owner, "plane": plane}
    from serinus.cli.answers import read
    from serinus.resources import IssuedToken

    answer = at.client.post("/v1/tokens", wanted)
    if at.out.as_json:
        at.out.json(answer)
        return
    print(read(IssuedToken, answer).token)


def list_(at: Session) -> None:
    """List the tokens, without their secrets.

    \b
      serinus token list
    """
    from serinus.cli.answers import read_all
    from serinus.resources import Token

    answer = at.client.get("/v1/tokens")
    if at.out.as_json:
        at.out.json(answer)
        return
    rows = [
        [t.name, t.owner, t.access.value, t.plane, t.issued_at[:19] + "Z", (t.revoked_at or "")[:19]]
        for t in read_all(Token, answer)
    ]
    at.out.table(["name", "owner", "access", "plane", "issued", "revoked"], rows)


def revoke(at: Session, name: Name, yes: Yes = False) -> None:
    """Revoke a token at once, with the sessions on the status page that use it.

    \b
      serinus token revoke ci --yes
    """
    at.out.confirm(f"Revoke the token {name}?", yes=yes)
    say(at, at.client.delete(f"/v1/tokens/{part(name)}"))


def reset(at: Session, yes: Yes = False) -> None:
    """Replace the admin token in the home's file `token`, and revoke the old one.

    Use it where the token was lost, or was seen by somebody else. Only the owner of the home may do it. It is kept in
    the audit record.

    Where Serinus is not running, the next `serinus up` makes the new token.

    \b
      serinus token reset --yes
    """
    if at.server:
        raise Refused(
            "only the owner of the home may reset its token", hint="Run it on the machine of that Serinus, with --home."
        )
    at.out.confirm(f"Replace the token of {at.home.path}?", yes=yes)
    try:
        answer = at.owner_client.post("/v1/home/token", {})
    except Unavailable:
        if at.runs("control"):
            raise
        at.home.token.unlink(missing_ok=True)
        answer = {"message": "Serinus is not running: the next `serinus up` makes a new token and revokes the old one"}
    say(at, answer)
