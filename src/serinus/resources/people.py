"""Tokens of people, keys of callers, and the status page's session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from serinus.core.people import Access
from serinus.resources.base import Answer, Request, ShortText

MODELS_A_KEY = 1000

Plane = Literal["control", "data"]
TokenName = Annotated[str, Field(min_length=1, max_length=64)]
Owner = Annotated[str, Field(max_length=128)]


class NewToken(Request):
    name: TokenName
    access: Access = Access.VIEW
    owner: Owner = ""
    """The person or service that it is for; empty: the name itself."""
    plane: Plane = "control"
    """`control`: this API. `data`: callers of models; `/v1/keys` can limit such a key to models."""


class NewKey(Request):
    name: TokenName
    """Of the caller; each prediction is recorded with it."""
    owner: Owner = ""
    models: (
        Annotated[Sequence[Annotated[str, Field(max_length=128)]], Field(min_length=1, max_length=MODELS_A_KEY)] | None
    ) = None
    """Those that it opens; null: all, also those that are deployed later."""


class LoginRequest(Request):
    """A token, or the code of a link."""

    token: ShortText = ""
    code: ShortText = ""


class Me(Answer):
    """Who asks."""

    name: str
    owner: str
    access: Access


class Token(Answer):
    """Without its secret."""

    name: str
    owner: str
    access: Access
    plane: Plane
    models: Sequence[str] | None
    """Of a key: those that it opens; null: all."""
    issued_at: str
    """ISO 8601, UTC."""
    revoked_at: str | None
    """ISO 8601, UTC; null: it is valid."""


class Key(Answer):
    """Of a caller of models, without its secret."""

    name: str
    owner: str
    models: Sequence[str] | None
    """Those that it opens; null: all."""
    issued_at: str
    """ISO 8601, UTC."""
    revoked_at: str | None
    """ISO 8601, UTC; null: it is valid."""


class IssuedToken(Answer):
    name: str
    owner: str
    access: Access
    plane: Plane
    token: str
    """It is in this answer and nowhere else."""


class IssuedKey(Answer):
    name: str
    models: Sequence[str] | None
    key: str
    """It is in this answer and nowhere else."""
    message: str


class Revoked(Answer):
    name: str
    message: str


class LoginCode(Answer):
    code: str
    """Of the link `/login#code=...`, which signs a browser in once, within an hour."""
