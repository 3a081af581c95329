"""The home's own token, with the role admin, in a file that the command line and scripts of the home's owner read."""

from __future__ import annotations

import os
import pwd
import re
from datetime import datetime

from serinus.core.home import Home
from serinus.core.people import Access, Actor
from serinus.core.ports import Store
from serinus.lib import files

NAME = "admin"  # The name of the token, not a secret. Homes that share a store have tokens of different names.


def login() -> str:
    """Returns the login name of the user that owns the home, with the characters that an owner of a token may have."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # This happens in containers.
        return f"uid {os.geteuid()}"
    clean = re.sub(r"[^A-Za-z0-9.@+-]+", "-", name).strip("-.@+") or "user"
    return f"user {clean}" if clean.casefold() in ("nobody", "serinus") else clean


def ensure(home: Home, store: Store, actor: Actor, now: datetime, name: str = NAME) -> None:
    """Issues the token `name` where the file has no valid one. A token from before owners gets the user's login name as
    its owner."""
    if home.token.exists() and (found := store.whose_token(home.token.read_text().strip())) is not None:
        store.own_token(found.name, login())
        return
    renew(home, store, actor, "made at `serinus up`", now, name)


def renew(home: Home, store: Store, actor: Actor, why: str, now: datetime, name: str = NAME) -> None:
    """Revokes the token and writes another one to the file, 0600. Raises OSError."""
    if any(token["name"] == name and token["revoked_at"] is None for token in store.tokens()):
        store.revoke_token(name, now)
    secret = store.issue_token(name, Access.ADMIN, now, owner=login())
    files.write(home.token, secret)
    details = {"access": Access.ADMIN.value, "for": login()}
    store.audit(actor, "issue-token", name, why, details, now)
