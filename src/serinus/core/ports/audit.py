"""The audit record in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from serinus.core.events import AuditEntry
from serinus.core.people import Actor


class Audit(Protocol):
    """Who did what: append-only and hash-chained. Implementations: backends/sql."""

    def audit(self, actor: Actor, what: str, subject: str, why: str, details: Mapping[str, Any], at: datetime) -> None:
        """Appends to the hash chain."""
        ...

    def audit_trail(
        self, after: int = 0, limit: int = 1000, *, model: str | None = None, newest: bool = False
    ) -> Sequence[AuditEntry]:
        """Oldest first, those with a number above `after`: the first `limit` of them, or with `newest` the last.
        `model`: only what was done to it, to one of its versions or to one of its rollouts."""
        ...

    def audit_broken_at(self) -> int | None:
        """Number of the first entry that does not fit the chain, or None: the whole chain holds."""
        ...
