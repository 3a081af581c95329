"""Tokens and keys in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from serinus.core.people import Access, Actor


class Tokens(Protocol):
    """Tokens of people and keys of callers, stored hashed. Implementations: backends/sql."""

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
        """A new token, returned once and stored hashed. Refused: the name is taken by one that is not revoked.
        `plane`: `control` for the API, `data` for callers of models. `owner`: the person or service that it is for,
        for ever; empty: of the name itself. `models`: those that it opens on the data plane; None: all."""
        ...

    def own_token(self, name: str, owner: str) -> bool:
        """Gives an owner to a token that was issued by a version before owners; False: there is no such token."""
        ...

    def whose_token(self, secret: str, *, plane: str = "control") -> Actor | None:
        """The actor of a token; None where it is unknown, revoked or of the other plane."""
        ...

    def revoke_token(self, name: str, at: datetime) -> None:
        """Nothing happens where it is revoked already; NotFound where there never was one."""
        ...

    def token(self, name: str, *, plane: str = "control") -> Mapping[str, Any] | None:
        """The one of that name that is not revoked, as `tokens` has it; None where there is none on that plane."""
        ...

    def tokens(self) -> Sequence[Mapping[str, Any]]:
        """name, owner, access, plane, models, issued_at, revoked_at; never the secret or its hash."""
        ...
