"""The audit record and logs. Their entries, and events, are values of `core.events`."""

from __future__ import annotations

from collections.abc import Sequence

from serinus.resources.base import Answer


class AuditChain(Answer):
    """The result of checking the audit record."""

    holds: bool
    """Whether no entry was changed, removed or inserted."""
    broken_at: int | None
    """The number of the first entry that breaks the chain. null: the chain is intact."""


class LogLines(Answer):
    """Lines of a log."""

    lines: Sequence[str]
    offset: int
    """The value of `after` for the lines that follow."""
