"""The people and services that act, and their roles."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class Access(StrEnum):
    """The roles of a token. Each includes the ones before it."""

    VIEW = "view"
    DEPLOY = "deploy"
    APPROVE = "approve"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of an act: the token's `name`, its role and the `origin` of the request.

    `origin` is an address, `local socket`, `alias`, `git` or `engine`.
    """

    name: str
    access: Access
    origin: str = ""
    owner: str = ""
    """The person or service that the token was issued to. Empty: the token's name is the owner's."""

    @property
    def shown(self) -> str:
        """The token's name, with its owner where that is another name."""
        return f"{self.name} ({self.owner})" if self.owner and self.owner != self.name else self.name

    @property
    def is_nobody(self) -> bool:
        """Whether the author is unknown, because the registry does not say who has set an alias."""
        return self.origin == "alias" and not self.owner

    def may_be(self, other: Actor) -> bool:
        """Whether both may be one person or service: they use the same token, or tokens of the same owner."""
        return bool(
            {_person(self.name), _person(self.owner or self.name)}
            & {_person(other.name), _person(other.owner or other.name)}
        )


def _person(name: str) -> str:
    """Returns a normal form of a name, in which its different spellings are equal."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
