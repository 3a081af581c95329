"""Events and entries of the audit record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act in the audit record. `digest` is the SHA-256 of the entry's canonical JSON together with `previous`."""

    number: int
    at: datetime
    who: str
    what: str
    subject: str
    why: str
    origin: str
    details: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has become true. `kind` is written in kebab-case, such as `gates-passed` or `aborted`."""

    at: datetime
    model: str
    rollout: str | None
    kind: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
