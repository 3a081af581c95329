"""The verbs `serinus key create`, `list` and `revoke`."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session, Yes, part
from serinus.cli.words import say

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the caller, which is recorded with each prediction.")
]


def create(
    at: Session,
    name: Name,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            show_default=False,
            help="A model that the key opens. May be repeated. Default: all models.",
        ),
    ] = None,
    owner: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="The person or service that the key is for.")
    ] = "",
) -> None:
    """Create an API key for a caller of models, who sends it in the header x-api-key. The key is shown once.

    From the first key on, callers without one are refused.

    \b
      serinus key create shop
      serinus key create payments --model fraud --model chargeback
    """
    from serinus.cli.answers import read
    from serinus.resources import IssuedKey

    answer = at.client.post("/v1/keys", {"name": name, "models": model or None, "owner": owner})
    if at.out.as_json:
        at.out.json(answer)
        return
    made = read(IssuedKey, answer)
    typer.echo(made.message, err=True)
    print(made.key)


def list_(at: Session) -> None:
    """List the API keys, without their secrets.

    \b
      serinus key list
    """
    from serinus.cli.answers import read_all
    from serinus.resources import Key

    answer = at.client.get("/v1/keys")
    if at.out.as_json:
        at.out.json(answer)
        return
    rows = [
        [
            key.name,
            key.owner,
            "all" if key.models is None else ", ".join(key.models),
            key.issued_at[:19] + "Z",
            (key.revoked_at or "")[:19],
        ]
        for key in read_all(Key, answer)
    ]
    at.out.table(["name", "owner", "models", "issued", "revoked"], rows)


def revoke(at: Session, name: Name, yes: Yes = False) -> None:
    """Revoke a key. The caller's next request is refused.

    \b
      serinus key revoke shop --yes
    """
    at.out.confirm(f"Revoke the key {name}?", yes=yes)
    say(at, at.client.delete(f"/v1/keys/{part(name)}"))
