"""The entities that have had an event before, by scope (a split or a rollout) and kind of event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, insert, select, update

from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import EVENTS, CountKey, Tally

MOST_ENTITIES = 500_000
"""The largest number of entities in one set. Events of further entities are counted singly, which the status
reports."""
_MOST_AT_HAND = 250_000
_MOST_WHOLE = 1_000_000
"""The largest number of hashes in all sets that are kept in memory as a whole."""
_CHUNK = 500

Set = tuple[str, str]
"""The scope and the kind."""
Fresh = Mapping[Set, Collection[int]]
"""Hashes by set."""


class EntitySets:
    """The sets are in the database. Recent hashes are kept in memory as well, because most entities return.

    Only committed hashes are kept in memory, and a set is dropped after a week without events. Sets of events are kept
    in memory as a whole, because they show which requests could still have a first event.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._at_hand: dict[Set, set[int]] = {}
        self._whole: dict[Set, set[int]] = {}
        self._lately: dict[tuple[str, str], dict[int, int]] = {}
        """(split, kind) -> hash -> the last window in which the entity had such an event. It is not kept over a
        restart, after which an event of the present window may be counted once more."""

    def firsts(self, connection: Connection, tally: Tally, now: float) -> tuple[Counter[CountKey], Fresh]:
        """Writes the entities that are new to their sets. Returns what they add to the counts, and what to `remember`
        after the commit."""
        found = self._at_risk(connection, tally)
        remembered: dict[Set, Collection[int]] = {}
        for key, keys in tally.firsts.items():
            set_id, size = _entity_set(connection, *key, now)
            at_hand = self._at_hand.get(key, set()) if size else set()
            unsure = [one for one in keys if one not in at_hand]
            known = _known(connection, set_id, unsure) if size else set()
            fresh = [one for one in unsure if one not in known]
            kept = fresh[: max(self._most - size, 0)]
            if kept:
                connection.execute(insert(db.entities), [{"set_id": set_id, "hash": one} for one in kept])
            values = {"size": size + len(kept), "used_at": now}
            connection.execute(update(db.entity_sets).where(db.entity_sets.c.id == set_id).values(values))
            # Events beyond a full set are counted singly. Entities are not, because the split is judged by those that
            # fit.
            found.update(keys[one] for one in (kept if key[1] == "entities" else fresh))
            remembered[key] = known.union(kept)
        return found, remembered

    def remember(self, committed: Fresh, tally: Tally) -> None:
        """Keeps in memory what was committed with `tally`."""
        if sum(map(len, self._at_hand.values())) > _MOST_AT_HAND:
            self._at_hand.clear()
        for key, hashes in committed.items():
            self._at_hand.setdefault(key, set()).update(hashes)
            if key in self._whole:
                self._whole[key].update(hashes)
        for (split, _, kind), windows in tally.windows.items():
            lately = self._lately.setdefault((split, kind), {})
            lately.update({one: max(*found, lately.get(one, 0)) for one, found in windows.items()})
        self._lately = {
            key: {one: window for one, window in lately.items() if window >= tally.window - 1}
            for key, lately in self._lately.items()
        }

    def saturated(self, connection: Connection) -> list[str]:
        """Returns the sets that are full."""
        full = select(db.entity_sets).where(db.entity_sets.c.size >= self._most)
        return [f"{row.scope} {row.kind}" for row in connection.execute(full)]

    def _at_risk(self, connection: Connection, tally: Tally) -> Counter[CountKey]:
        """Returns the requests of entities that have had no event so far, and events that are an entity's first in a
        window.

        Events within this stretch of the log matter from the next stretch on.
        """
        found: Counter[CountKey] = Counter()
        for (split, release), asked in tally.asked.items():
            for kind in EVENTS:
                requests, nameless = asked.of(kind)
                total = nameless + requests.total()
                for within, scope in asked.scopes.items():
                    had = self._all(connection, (scope, kind))
                    again = sum(requests[one] for one in requests.keys() & had)
                    found[split, release, f"{within}.at_risk.{kind}"] += total - again
                lately = self._lately.get((split, kind), {})
                again = sum(requests[one] for one in requests.keys() & lately.keys() if lately[one] >= tally.window)
                found[split, release, f"window.at_risk.{kind}"] += total - again
        for (split, release, kind), windows in tally.windows.items():
            lately = self._lately.get((split, kind), {})
            fresh = sum(window > lately.get(one, -1) for one, found_in in windows.items() for window in found_in)
            found[split, release, f"window.{kind}"] += fresh
        return found

    def _all(self, connection: Connection, key: Set) -> Collection[int]:
        if key not in self._whole:
            if sum(map(len, self._whole.values())) > _MOST_WHOLE:
                self._whole.clear()
            scope, kind = key
            same = select(db.entity_sets.c.id).where(db.entity_sets.c.scope == scope, db.entity_sets.c.kind == kind)
            self._whole[key] = set(connection.scalars(select(db.entities.c.hash).where(db.entities.c.set_id.in_(same))))
        return self._whole[key]


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
