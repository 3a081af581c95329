"""Who may do what."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class Access(StrEnum):
    """Roles of a token, each including the ones before it."""

    VIEW = "view"
    DEPLOY = "deploy"
    APPROVE = "approve"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `name`: of the token. `origin`: an address, `local socket`, `alias`, or `engine`."""

    name: str
    access: Access
    origin: str = ""
    owner: str = ""
    """The person or service that the token was issued to; empty: of that name itself."""

    @property
    def shown(self) -> str:
        """For people: the token's name, with its owner where that is another."""
        return f"{self.name} ({self.owner})" if self.owner and self.owner != self.name else self.name

    @property
    def is_nobody(self) -> bool:
        """Whether it is unknown who acts, because an alias in the registry does not say who set it."""
        return self.origin == "alias" and not self.owner

    def may_be(self, other: Actor) -> bool:
        """Whether both are one person or service: one token, or two of one owner."""
        return bool(
            {_person(self.name), _person(self.owner or self.name)}
            & {_person(other.name), _person(other.owner or other.name)}
        )


def _person(name: str) -> str:
    """A normal form of a name, in which its spellings are equal."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
