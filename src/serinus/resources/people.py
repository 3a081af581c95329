"""Tokens of people, API keys of callers, and the session of the status page."""

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
    """A token to issue."""

    name: TokenName
    access: Access = Access.VIEW
    owner: Owner = ""
    """The person or service that it is for. Empty: the owner has the token's name."""
    plane: Plane = "control"
    """`control`: for this API. `data`: for callers of models. `/v1/keys` can restrict a key to some models."""


class NewKey(Request):
    """An API key to issue."""

    name: TokenName
    """The name of the caller, which is stored with each prediction."""
    owner: Owner = ""
    models: (
        Annotated[Sequence[Annotated[str, Field(max_length=128)]], Field(min_length=1, max_length=MODELS_A_KEY)] | None
    ) = None
    """The models that it opens. null: all, also those that are deployed later."""


class LoginRequest(Request):
    """A token, or the code of a link."""

    token: ShortText = ""
    code: ShortText = ""


class Me(Answer):
    """The owner of the token."""

    name: str
    owner: str
    access: Access


class Token(Answer):
    """A token, without its secret."""

    name: str
    owner: str
    access: Access
    plane: Plane
    models: Sequence[str] | None
    """For an API key: the models that it opens. null: all."""
    issued_at: str
    """ISO 8601 in UTC."""
    revoked_at: str | None
    """ISO 8601 in UTC. null: it is valid."""


class Key(Answer):
    """An API key of a caller, without its secret."""

    name: str
    owner: str
    models: Sequence[str] | None
    """The models that it opens. null: all."""
    issued_at: str
    """ISO 8601 in UTC."""
    revoked_at: str | None
    """ISO 8601 in UTC. null: it is valid."""


class IssuedToken(Answer):
    """A token that was issued."""

    name: str
    owner: str
    access: Access
    plane: Plane
    token: str
    """The secret, which is in this answer only."""


class IssuedKey(Answer):
    """An API key that was issued."""

    name: str
    models: Sequence[str] | None
    key: str
    """The secret, which is in this answer only."""
    message: str


class Revoked(Answer):
    """A token or key that was revoked."""

    name: str
    message: str


class LoginCode(Answer):
    """The code of a link that signs a browser in."""

    code: str
    """For the link `/login#code=...`, which works once and within an hour."""
