"""The audit record: append-only and hash-chained, so that a changed, removed or inserted entry shows.

An entry's digest is sha256 over the canonical JSON of all its other fields, its predecessor's digest among them. The
number of entries and the last digest are kept in a row of their own, so that cutting off the end shows too. Whoever
can rewrite the whole database can forge the whole chain: to notice that, keep a digest somewhere else.
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
    """Appends an entry. Call it in a transaction that writes."""
    # FOR UPDATE: where several may write at once, the chain still grows by one at a time.
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
    query = select(audit).where(audit.c.number > after)
    if model is not None:
        of_it = select(rollouts.c.id).where(rollouts.c.model == model)
        subject = audit.c.subject
        query = query.where(or_(subject == model, subject.startswith(f"{model}@", autoescape=True), subject.in_(of_it)))
    query = query.order_by(audit.c.number.desc() if newest else audit.c.number).limit(limit)
    found = [_entry(row) for row in connection.execute(query)]
    return found[::-1] if newest else found


def broken_at(connection: Connection) -> int | None:
    """Number of the first entry that does not fit, or None."""
    entries, digest = 0, ""
    for row in connection.execute(select(audit).order_by(audit.c.number)):
        fields = dict(row._mapping)
        kept = fields.pop("digest")
        if row.number != entries + 1 or row.previous != digest or kept != _digest(fields):
            return entries + 1
        entries, digest = row.number, kept
    head = connection.execute(select(audit_head.c.entries, audit_head.c.digest)).one_or_none()
    if head is None or head.entries > entries:
        return entries + 1  # the end was cut off
    if head.entries < entries:
        return int(head.entries) + 1  # something was appended past the head
    return None if head.digest == digest else max(entries, 1)


def _storable(text: str) -> str:
    """PostgreSQL keeps no null character, which an address that was asked for can have."""
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
