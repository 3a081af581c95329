"""The audit record and logs. Their entries, and events, are values of `core.events`."""

from __future__ import annotations

from collections.abc import Sequence

from serinus.resources.base import Answer


class AuditChain(Answer):
    holds: bool
    """No entry was changed, removed or inserted."""
    broken_at: int | None
    """Number of the first entry that does not fit; null: the chain holds."""


class LogLines(Answer):
    lines: Sequence[str]
    offset: int
    """To be sent as `after` for what comes later."""
