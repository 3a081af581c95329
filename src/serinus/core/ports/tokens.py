"""Tokens and API keys in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from serinus.core.people import Access, Actor


class Tokens(Protocol):
    """Tokens of people and API keys of callers, stored as hashes. Implementations: backends/sql."""

    def issue_token(
        self,
        name: str,
        access: Access,
        at: datetime,
        *,
        plane: str = "control",
        owner: str = "",
        models: Collection[str] | None = None,
    ) -> str:
        """Issues a token and returns its secret. Only a hash of the secret is stored.

        - `plane`: `control` for tokens of the API, `data` for API keys of callers.
        - `owner`: the person or service that it is issued to, which never changes. Empty: the owner has the token's
          name.
        - `models`: the models that an API key may call. None: all.

        Raises Refused where a token of this name exists and is not revoked.
        """
        ...

    def own_token(self, name: str, owner: str) -> bool:
        """Sets the owner of a token that was issued before tokens had owners. Returns False where there is no such
        token."""
        ...

    def whose_token(self, secret: str, *, plane: str = "control") -> Actor | None:
        """Returns the actor of a token. None: the token is unknown, revoked or of the other plane."""
        ...

    def revoke_token(self, name: str, at: datetime) -> None:
        """Revokes the token. Does nothing where it is revoked already. Raises NotFound where it never existed."""
        ...

    def token(self, name: str, *, plane: str = "control") -> Mapping[str, Any] | None:
        """Returns the token of this name that is not revoked, in the form of `tokens`. None: there is none on this
        plane."""
        ...

    def tokens(self) -> Sequence[Mapping[str, Any]]:
        """Returns all tokens: name, owner, access, plane, models, issued_at and revoked_at. Secrets and hashes are left
        out."""
        ...
