"""Which entities an event has happened to before, by scope (a split, a rollout) and kind of event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, insert, select, update

from serinus.backends.delta import database as db
from serinus.backends.delta.counting import CountKey, Tally

MOST_ENTITIES = 500_000
"""That one set remembers; events of further entities are counted singly, and the status says so."""
_MOST_AT_HAND = 250_000
_CHUNK = 500

Fresh = Mapping[int, Collection[int]]
"""Set -> hashes."""


class EntitySets:
    """The sets are in the database; the hashes that were seen lately are at hand, too, since most come again.

    Only hashes whose being there is committed are at hand, and a set is forgotten only after a quiet week.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._at_hand: dict[int, set[int]] = {}

    def firsts(self, connection: Connection, tally: Tally, now: float) -> tuple[Counter[CountKey], Fresh]:
        """Writes the entities that are new to their sets: what they add to the counts, and what to `remember` once
        all is committed."""
        found: Counter[CountKey] = Counter()
        remembered: dict[int, Collection[int]] = {}
        for (scope, kind), keys in tally.firsts.items():
            set_id, size = _entity_set(connection, scope, kind, now)
            at_hand = self._at_hand.get(set_id, set()) if size else set()
            unsure = [one for one in keys if one not in at_hand]
            known = _known(connection, set_id, unsure) if size else set()
            fresh = [one for one in unsure if one not in known]
            kept = fresh[: max(self._most - size, 0)]
            if kept:
                connection.execute(insert(db.entities), [{"set_id": set_id, "hash": one} for one in kept])
            values = {"size": size + len(kept), "used_at": now}
            connection.execute(update(db.entity_sets).where(db.entity_sets.c.id == set_id).values(values))
            found.update(keys[one] for one in fresh)
            remembered[set_id] = known.union(kept)
        return found, remembered

    def remember(self, committed: Fresh) -> None:
        if sum(map(len, self._at_hand.values())) > _MOST_AT_HAND:
            self._at_hand.clear()
        for set_id, hashes in committed.items():
            self._at_hand.setdefault(set_id, set()).update(hashes)

    def saturated(self, connection: Connection) -> list[str]:
        full = select(db.entity_sets).where(db.entity_sets.c.size >= self._most)
        return [f"{row.scope} {row.kind}" for row in connection.execute(full)]


def _entity_set(connection: Connection, scope: str, kind: str, now: float) -> tuple[int, int]:
    same = (db.entity_sets.c.scope == scope, db.entity_sets.c.kind == kind)
    row = connection.execute(select(db.entity_sets.c.id, db.entity_sets.c.size).where(*same)).one_or_none()
    if row is not None:
        return row.id, row.size
    created = connection.execute(insert(db.entity_sets).values(scope=scope, kind=kind, size=0, used_at=now))
    assert created.inserted_primary_key is not None
    return int(created.inserted_primary_key[0]), 0


def _known(connection: Connection, set_id: int, hashes: list[int]) -> set[int]:
    known: set[int] = set()
    at = db.entities.c
    for start in range(0, len(hashes), _CHUNK):
        chunk = hashes[start : start + _CHUNK]
        known.update(connection.scalars(select(at.hash).where(at.set_id == set_id, at.hash.in_(chunk))))
    return known
