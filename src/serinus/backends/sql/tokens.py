"""Tokens of people and callers. A token is shown once, stored as a hash, and revoked by name.

A token consists of 256 random bits, so a plain SHA-256 suffices: a slow hash would only help against guessing.

The owner is fixed when the token is issued. A token that changes hands is revoked and another one issued, so that
requests made with it remain its owner's. A token of an earlier version has no owner, and counts as owned by its name.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from serinus.backends.sql.tables import tokens
from serinus.core.errors import InvalidInput, NotFound, Refused
from serinus.core.people import Access, Actor

PREFIX = "srn_"
"""Lets people and secret scanners recognize a leaked token."""

PLANES = ("control", "data")

RESERVED = ("nobody", "serinus")
"""Names that the audit record uses for acts without a token."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_OWNER = re.compile(r"[^\W_](?:[\w.@+ -]{0,126}[\w.])?")


def issue(
    connection: Connection,
    name: str,
    access: Access,
    at: datetime,
    plane: str,
    owner: str,
    models: Collection[str] | None,
) -> str:
    """Issues a token and returns its secret."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "A token's name has 1 to 64 letters, digits, '.', '_', '@' or '-', and begins with a letter or digit."
        )
    if name.casefold() in RESERVED or owner.casefold() in RESERVED:
        raise InvalidInput(f"{', '.join(RESERVED)} are reserved for Serinus; choose another name for the token.")
    if not _OWNER.fullmatch(owner):
        raise InvalidInput(
            "A token's owner has 1 to 128 letters, digits, '.', '_', '@', '+', '-' or spaces, and begins with a letter "
            "or digit.",
            hint="Name the person or service: `--owner anna@bank`.",
        )
    if plane not in PLANES:
        raise InvalidInput(f"A token's plane is one of {', '.join(PLANES)}.")
    taken = select(tokens.c.number).where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
    if connection.execute(taken).first():
        raise Refused(f"There is already a token named {name}.", hint="Revoke it first, or choose another name.")
    secret = PREFIX + secrets.token_urlsafe(32)
    row = {
        "name": name,
        "access": access.value,
        "plane": plane,
        "hash": _hash(secret),
        "issued_at": at.isoformat(),
        "owner": owner,
        "models": None if models is None else json.dumps(sorted(set(models))),
    }
    connection.execute(insert(tokens).values(row))
    return secret


def whose(connection: Connection, secret: str, plane: str) -> Actor | None:
    """Returns the actor of a token. None: it is unknown, revoked or of the other plane."""
    wanted = _hash(secret)
    query = select(tokens.c.name, tokens.c.access, tokens.c.owner, tokens.c.hash).where(
        tokens.c.hash == wanted, tokens.c.plane == plane, tokens.c.revoked_at.is_(None)
    )
    row = connection.execute(query).first()
    if row is None or not hmac.compare_digest(row.hash, wanted):
        return None
    return Actor(row.name, Access(row.access), owner=row.owner or row.name)


def own(connection: Connection, name: str, owner: str) -> bool:
    """Sets the owner of the valid token of that name that has none yet, because an earlier version issued it."""
    ownerless = (tokens.c.name == name, tokens.c.revoked_at.is_(None), tokens.c.owner.is_(None))
    return connection.execute(update(tokens).where(*ownerless).values(owner=owner)).rowcount > 0


def revoke(connection: Connection, name: str, at: datetime) -> None:
    """Revokes the token."""
    names = connection.execute(select(tokens.c.name).distinct()).scalars().all()
    if name not in names:
        near = get_close_matches(name, names, n=3)
        raise NotFound(f"There is no token named {name!r}.", hint=f"Near names: {', '.join(near)}." if near else "")
    valid = (tokens.c.name == name, tokens.c.revoked_at.is_(None))
    connection.execute(update(tokens).where(*valid).values(revoked_at=at.isoformat()))


def valid(connection: Connection, name: str, plane: str) -> Mapping[str, Any] | None:
    """Returns the valid token of that name. None: there is none."""
    query = select(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None), tokens.c.plane == plane)
    row = connection.execute(query).first()
    return None if row is None else _shown(row)


def listing(connection: Connection) -> list[Mapping[str, Any]]:
    """Returns all tokens without their hashes."""
    return [_shown(row) for row in connection.execute(select(tokens).order_by(tokens.c.number))]


def _shown(row: Row[Any]) -> Mapping[str, Any]:
    """Returns a token without what is secret."""
    return {
        "name": row.name,
        "owner": row.owner or row.name,
        "access": row.access,
        "plane": row.plane,
        "models": None if row.models is None else json.loads(row.models),
        "issued_at": row.issued_at,
        "revoked_at": row.revoked_at,
    }


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
