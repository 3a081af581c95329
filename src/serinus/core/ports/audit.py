"""The audit record in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from serinus.core.events import AuditEntry
from serinus.core.people import Actor


class Audit(Protocol):
    """An append-only record of who did what, protected by a hash chain. Implementations: backends/sql."""

    def audit(self, actor: Actor, what: str, subject: str, why: str, details: Mapping[str, Any], at: datetime) -> None:
        """Appends an entry to the record."""
        ...

    def audit_trail(
        self, after: int = 0, limit: int = 1000, *, model: str | None = None, newest: bool = False
    ) -> Sequence[AuditEntry]:
        """Returns entries with a number above `after`, oldest first: the first `limit` of them, or with `newest` the
        last.

        With `model`, only acts on the model, its versions and its rollouts are returned.
        """
        ...

    def audit_broken_at(self) -> int | None:
        """Returns the number of the first entry that breaks the hash chain. None: the whole chain is intact."""
        ...
