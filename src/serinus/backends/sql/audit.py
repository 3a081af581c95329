"""The audit record: append-only with a hash chain, so that changed, removed and inserted entries are detected.

An entry's digest is the SHA-256 over the canonical JSON of all its other fields, including the digest of the entry
before it. The number of entries and the last digest are stored in a row of their own, so that a truncation is detected
as well. Whoever can rewrite the whole database can forge the whole chain. To detect that, keep a digest elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from serinus.backends.sql.documents import canonical
from serinus.backends.sql.tables import audit, audit_head, rollouts
from serinus.core.events import AuditEntry
from serinus.core.people import Actor
from serinus.core.redaction import all_without_credentials, without_credentials


def append(
    connection: Connection,
    actor: Actor,
    what: str,
    subject: str,
    why: str,
    details: Mapping[str, Any],
    at: datetime,
) -> None:
    """Appends an entry. Must be called in a transaction that writes."""
    # FOR UPDATE makes concurrent writers append one after the other.
    head = connection.execute(select(audit_head.c.entries, audit_head.c.digest).with_for_update()).one()
    fields = {
        "number": head.entries + 1,
        "at": at.isoformat(),
        "who": _storable(actor.name),
        "what": what,
        "subject": _storable(subject),
        "why": _storable(without_credentials(why)),
        "origin": actor.origin,
        "details": canonical(all_without_credentials({**details, "owner": actor.owner} if actor.owner else details)),
        "previous": head.digest,
    }
    digest = _digest(fields)
    connection.execute(insert(audit).values(**fields, digest=digest))
    connection.execute(update(audit_head).values(entries=fields["number"], digest=digest))


def trail(connection: Connection, after: int, limit: int, model: str | None, newest: bool) -> list[AuditEntry]:
    """Returns entries, as `Audit.audit_trail` does."""
    query = select(audit).where(audit.c.number > after)
    if model is not None:
        of_it = select(rollouts.c.id).where(rollouts.c.model == model)
        subject = audit.c.subject
        query = query.where(or_(subject == model, subject.startswith(f"{model}@", autoescape=True), subject.in_(of_it)))
    query = query.order_by(audit.c.number.desc() if newest else audit.c.number).limit(limit)
    found = [_entry(row) for row in connection.execute(query)]
    return found[::-1] if newest else found


def broken_at(connection: Connection) -> int | None:
    """Returns the number of the first entry that breaks the chain. None: the chain is intact."""
    entries, digest = 0, ""
    for row in connection.execute(select(audit).order_by(audit.c.number)):
        fields = dict(row._mapping)
        kept = fields.pop("digest")
        if row.number != entries + 1 or row.previous != digest or kept != _digest(fields):
            return entries + 1
        entries, digest = row.number, kept
    head = connection.execute(select(audit_head.c.entries, audit_head.c.digest)).one_or_none()
    if head is None or head.entries > entries:
        return entries + 1  # The end of the chain is missing.
    if head.entries < entries:
        return int(head.entries) + 1  # There are entries after the stored end.
    return None if head.digest == digest else max(entries, 1)


def _storable(text: str) -> str:
    """Removes null characters, which PostgreSQL cannot store and a requested URL may contain."""
    return text.replace("\0", "\\x00")


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        number=row.number,
        at=datetime.fromisoformat(row.at),
        who=row.who,
        what=row.what,
        subject=row.subject,
        why=row.why,
        origin=row.origin,
        details=json.loads(row.details),
        previous=row.previous,
        digest=row.digest,
    )
