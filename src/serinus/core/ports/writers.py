"""The senders of records from other machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Writer:
    """The owner of a token. Either `release` or `gateway` is set. `holder` identifies the process group, such as a pod,
    that the token was issued to."""

    release: str = ""
    gateway: str = ""
    holder: str = ""


class Writers(Protocol):
    """Checks the tokens of remote writers. Implementations: targets/kubernetes."""

    def owner(self, token: str) -> Writer | None:
        """Returns the owner of a token, or None if the token is not valid. May block. Raises Unavailable if that cannot
        be determined now."""
        ...
