"""The port Store on SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, delete, func, insert, select, update

from serinus.backends.sql import audit, rollout_rows, terms, tokens
from serinus.backends.sql.database import Database
from serinus.backends.sql.documents import EVENT, MODEL_STATE, ORDER, RELEASE, ROLLOUT
from serinus.backends.sql.tables import events as events_table
from serinus.backends.sql.tables import kept_rows, models, numbers, orders, pending, releases, rollouts, settings
from serinus.core.errors import NotFound, Refused
from serinus.core.events import AuditEntry, Event
from serinus.core.kept_rows import KeptRow, from_text, to_text, together
from serinus.core.people import Access, Actor
from serinus.core.ports import Leadership
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Order, Rollout

_VALUES_A_QUERY = 500
"""Databases limit the number of values in a query."""

# Built once, since the engine asks for them in each tick, and building one takes as long as executing it.
_IN_FLIGHT = select(rollouts.c.document).where(rollouts.c.in_flight).order_by(rollouts.c.number)
_PENDING = select(pending.c.document).order_by(pending.c.number)
_SETTING = select(settings.c.value).where(settings.c.key == bindparam("wanted"))
_MODELS_AFTER = (
    select(models.c.document)
    .where(models.c.model > bindparam("last"))
    .order_by(models.c.model)
    .limit(bindparam("most"))
)


class SqlStore:
    """`url` is SQLAlchemy's: `sqlite:////home/me/.serinus/store.db` or `postgresql://serinus@db/serinus`. The
    constructor creates or migrates the tables.

    Safe for several threads and processes. Raises Refused where a newer version of Serinus has written the database.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._flying: Mapping[str, Rollout] = {}
        """The rollouts in flight as they were last read, by their texts, which change only when they are looked at."""

    def close(self) -> None:
        """Closes all connections."""
        self._database.close()

    def deciding(self, leadership: Leadership) -> SqlStore:
        """Returns the same store for what decides: nothing is written but in the term of `leadership`, and nothing once
        a higher term has begun. The methods that write raise Superseded then."""
        other = copy(self)
        other._database = self._database.checked(lambda connection: terms.check(connection, leadership))
        return other

    # --- terms --------------------------------------------------------------------------------------------

    def last_term(self) -> tuple[int, str]:
        with self._database.read() as connection:
            return terms.last(connection)

    def begin_term(self, term: int, holder: str) -> None:
        with self._database.write() as connection:
            terms.begin(connection, term, holder)

    # --- rollouts -----------------------------------------------------------------------------------------

    def create(self, rollout: Rollout, events: Sequence[Event] = ()) -> None:
        row = {
            "id": rollout.id,
            "model": rollout.model,
            **rollout_rows.searched(rollout),
            "document": ROLLOUT.dump(rollout),
        }
        with self._database.write() as connection:
            there = connection.execute(select(rollouts.c.document).where(rollouts.c.id == rollout.id)).scalar()
            if there is not None and ROLLOUT.load(there) == ROLLOUT.load(row["document"]):
                return
            if there is not None:
                raise Refused(f"There is another rollout with the id {rollout.id} already.")
            if row["in_flight"]:
                rollout_rows.refuse_a_second(connection, rollout)
            connection.execute(insert(rollouts).values(row))
            connection.execute(delete(pending).where(pending.c.id == rollout.id))
            _emit(connection, events)

    def save(self, rollout: Rollout, state: ModelState | None = None, events: Sequence[Event] = ()) -> None:
        change = update(rollouts).where(rollouts.c.id == rollout.id)
        with self._database.write() as connection:
            if rollout_rows.in_flight(rollout):
                rollout_rows.refuse_a_second(connection, rollout)
            changed = connection.execute(
                change.values(**rollout_rows.searched(rollout), document=ROLLOUT.dump(rollout))
            )
            if changed.rowcount == 0:
                raise rollout_rows.missing(connection, rollout.id)
            if state is not None:
                _save_model(connection, state)
            _emit(connection, events)

    def save_in_flight(self, flying: Sequence[Rollout]) -> None:
        if not flying:
            return
        at = rollouts.c
        rows = [{"saved": one.id, **rollout_rows.searched(one), "document": ROLLOUT.dump(one)} for one in flying]
        with self._database.write() as connection:
            there = select(at.id).where(at.in_flight, at.id.in_([one.id for one in flying]))
            lacking = {one.id for one in flying} - set(connection.execute(there).scalars())
            if lacking:
                raise rollout_rows.missing(connection, min(lacking))
            connection.execute(update(rollouts).where(at.id == bindparam("saved")), rows)

    def rollout(self, rollout_id: str) -> Rollout:
        with self._database.read() as connection:
            return ROLLOUT.load(rollout_rows.row(connection, rollout_id).document)

    def in_flight(self, model: str | None = None) -> Sequence[Rollout]:
        """Oldest first."""
        if model is not None:
            return self._rollouts(_IN_FLIGHT.where(rollouts.c.model == model))
        known = self._flying
        with self._database.read() as connection:
            texts = connection.execute(_IN_FLIGHT).scalars().all()
        found = {text: known.get(text) or ROLLOUT.load(text) for text in texts}
        self._flying = found
        return list(found.values())

    def rollouts(
        self,
        model: str | None = None,
        limit: int = 50,
        *,
        version: str | None = None,
        release: str | None = None,
        promoted: bool = False,
        in_flight: bool = False,
        after: str | None = None,
    ) -> Sequence[Rollout]:
        query = select(rollouts.c.document).order_by(rollouts.c.number.desc()).limit(limit)
        for column, value in ((rollouts.c.model, model), (rollouts.c.version, version), (rollouts.c.release, release)):
            if value is not None:
                query = query.where(column == value)
        for column, wanted in ((rollouts.c.promoted, promoted), (rollouts.c.in_flight, in_flight)):
            if wanted:
                query = query.where(column)
        return self._rollouts(query, after)

    def last_rollouts(self, releases: Collection[str]) -> Mapping[str, Rollout]:
        wanted, found = sorted(releases), dict[str, Rollout]()
        with self._database.read() as connection:
            for start in range(0, len(wanted), _VALUES_A_QUERY):
                mine = rollouts.c.release.in_(wanted[start : start + _VALUES_A_QUERY])
                newest = select(func.max(rollouts.c.number)).where(mine).group_by(rollouts.c.release)
                query = select(rollouts.c.release, rollouts.c.document).where(rollouts.c.number.in_(newest))
                found |= {row.release: ROLLOUT.load(row.document) for row in connection.execute(query)}
        return found

    def _rollouts(self, query: Select[Any], after: str | None = None) -> Sequence[Rollout]:
        with self._database.read() as connection:
            if after is not None:
                query = query.where(rollouts.c.number < rollout_rows.row(connection, after).number)
            return [ROLLOUT.load(text) for text in connection.execute(query).scalars()]

    def next_number(self, model: str) -> int:
        with self._database.write() as connection:
            query = select(numbers.c.last).where(numbers.c.model == model).with_for_update()
            number = (connection.execute(query).scalar() or 0) + 1
            _put(connection, numbers, {"model": model}, {"last": number})
            return number

    def order(self, rollout_id: str, order: Order) -> None:
        """Refused where the rollout has ended. The same order twice is one."""
        with self._database.write() as connection:
            row = rollout_rows.row(connection, rollout_id)
            if not rollout_rows.add_order(connection, rollout_id, order, in_flight=row.in_flight):
                phase = ROLLOUT.load(row.document).status.phase
                raise Refused(
                    f"The rollout {rollout_id} has ended: it is {phase}.",
                    hint=f"`serinus explain {rollout_id}` says how; `serinus rollback` goes to an earlier release.",
                )

    def orders(self, rollout_id: str) -> Sequence[Order]:
        """Oldest first."""
        query = select(orders.c.document).where(orders.c.rollout == rollout_id).order_by(orders.c.number)
        with self._database.read() as connection:
            return [ORDER.load(text) for text in connection.execute(query).scalars()]

    def orders_of(self, rollout_ids: Collection[str]) -> Mapping[str, Sequence[Order]]:
        if not rollout_ids:
            return {}
        at = orders.c
        query = select(at.rollout, at.document).where(at.rollout.in_(list(rollout_ids))).order_by(at.rollout, at.number)
        found: dict[str, list[Order]] = {}
        with self._database.read() as connection:
            for rollout, text in connection.execute(query):
                found.setdefault(rollout, []).append(ORDER.load(text))
        return found

    def supersede(self, rollout_id: str, order: Order, successor: Rollout) -> None:
        document = ROLLOUT.dump(successor)
        with self._database.write() as connection:
            row = rollout_rows.row(connection, rollout_id)
            rollout_rows.add_order(connection, rollout_id, order, in_flight=row.in_flight)
            if connection.execute(select(pending.c.id).where(pending.c.id == successor.id)).first() is None:
                connection.execute(insert(pending).values(id=successor.id, document=document))

    def pending(self) -> Sequence[Rollout]:
        return self._rollouts(_PENDING)

    # --- models and releases ------------------------------------------------------------------------------

    def models(self, names: Collection[str] | None = None) -> Sequence[ModelState]:
        query = select(models.c.document)
        return self._models(query if names is None else query.where(models.c.model.in_(sorted(names))))

    def models_after(self, model: str, limit: int) -> Sequence[ModelState]:
        with self._database.read() as connection:
            found = connection.execute(_MODELS_AFTER, {"last": model, "most": limit}).scalars()
            return [MODEL_STATE.load(text) for text in found]

    def _models(self, query: Select[Any]) -> Sequence[ModelState]:
        with self._database.read() as connection:
            documents = connection.execute(query).scalars()
            # They are sorted here, because databases sort text differently.
            return sorted(map(MODEL_STATE.load, documents), key=lambda state: state.model)

    def model(self, model: str) -> ModelState:
        with self._database.read() as connection:
            text = connection.execute(select(models.c.document).where(models.c.model == model)).scalar()
        return ModelState(model) if text is None else MODEL_STATE.load(text)

    def save_model(self, state: ModelState, events: Sequence[Event] = ()) -> None:
        with self._database.write() as connection:
            _save_model(connection, state)
            _emit(connection, events)

    def add_release(self, release: Release) -> None:
        row = {"id": release.id, "model": release.model, "document": RELEASE.dump(release)}
        with self._database.write() as connection:
            if connection.execute(select(releases.c.number).where(releases.c.id == release.id)).first() is None:
                connection.execute(insert(releases).values(row))

    def releases(
        self, model: str | None = None, limit: int | None = None, *, after: str | None = None
    ) -> Sequence[Release]:
        query = select(releases.c.document).order_by(releases.c.number.desc()).limit(limit)
        if model is not None:
            query = query.where(releases.c.model == model)
        with self._database.read() as connection:
            if after is not None:
                number = connection.execute(select(releases.c.number).where(releases.c.id == after)).scalar()
                if number is None:
                    raise NotFound(f"There is no release {after!r}.", hint="`serinus releases` lists them.")
                query = query.where(releases.c.number < number)
            return [RELEASE.load(text) for text in connection.execute(query).scalars()]

    # --- events -------------------------------------------------------------------------------------------

    def events(
        self, after: int = 0, model: str | None = None, limit: int = 200, *, rollout: str | None = None
    ) -> Sequence[Event]:
        query = select(events_table.c.number, events_table.c.document).limit(limit)
        if rollout is not None:
            query = query.where(events_table.c.rollout == rollout)
        if model is not None:
            query = query.where(events_table.c.model == model)
        if after > 0:
            query = query.where(events_table.c.number > after).order_by(events_table.c.number)
        else:
            query = query.order_by(events_table.c.number.desc())
        with self._database.read() as connection:
            found = [replace(EVENT.load(row.document), number=row.number) for row in connection.execute(query)]
        return found if after > 0 else found[::-1]

    def events_after(self, number: int, limit: int, *, model: str | None = None) -> Sequence[Event]:
        query = select(events_table.c.number, events_table.c.document).where(events_table.c.number > number)
        if model is not None:
            query = query.where(events_table.c.model == model)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(events_table.c.number).limit(limit))
            return [replace(EVENT.load(row.document), number=row.number) for row in rows]

    def emit(self, events: Sequence[Event]) -> None:
        with self._database.write() as connection:
            _emit(connection, events)

    # --- audit --------------------------------------------------------------------------------------------

    def audit(self, actor: Actor, what: str, subject: str, why: str, details: Mapping[str, Any], at: datetime) -> None:
        with self._database.write() as connection:
            audit.append(connection, actor, what, subject, why, details, at)

    def audit_trail(
        self, after: int = 0, limit: int = 1000, *, model: str | None = None, newest: bool = False
    ) -> Sequence[AuditEntry]:
        with self._database.read() as connection:
            return audit.trail(connection, after, limit, model, newest)

    def audit_broken_at(self) -> int | None:
        with self._database.read() as connection:
            return audit.broken_at(connection)

    # --- tokens -------------------------------------------------------------------------------------------

    def issue_token(
        self,
        name: str,
        access: Access,
        at: datetime,
        *,
        plane: str = "control",
        owner: str = "",
        models: Collection[str] | None = None,
    ) -> str:
        with self._database.write() as connection:
            return tokens.issue(connection, name, access, at, plane, owner or name, models)

    def own_token(self, name: str, owner: str) -> bool:
        with self._database.write() as connection:
            return tokens.own(connection, name, owner)

    def whose_token(self, secret: str, *, plane: str = "control") -> Actor | None:
        """The actor of a token; None where it is unknown, revoked or of the other plane."""
        with self._database.read() as connection:
            return tokens.whose(connection, secret, plane)

    def revoke_token(self, name: str, at: datetime) -> None:
        """Nothing happens where it is revoked already; NotFound where there never was one."""
        with self._database.write() as connection:
            tokens.revoke(connection, name, at)

    def token(self, name: str, *, plane: str = "control") -> Mapping[str, Any] | None:
        with self._database.read() as connection:
            return tokens.valid(connection, name, plane)

    def tokens(self) -> Sequence[Mapping[str, Any]]:
        with self._database.read() as connection:
            return tokens.listing(connection)

    # --- settings -----------------------------------------------------------------------------------------

    def setting(self, key: str) -> str | None:
        with self._database.read() as connection:
            return connection.execute(_SETTING, {"wanted": key}).scalar()

    def settings(self, prefix: str) -> Mapping[str, str]:
        query = select(settings.c.key, settings.c.value).where(settings.c.key.startswith(prefix, autoescape=True))
        with self._database.read() as connection:
            found = {row.key: row.value for row in connection.execute(query)}
        return {key: value for key, value in found.items() if key.startswith(prefix)}  # LIKE may ignore case.

    def set_setting(self, key: str, value: str) -> None:
        with self._database.write() as connection:
            _put(connection, settings, {"key": key}, {"value": value})

    # --- kept rows ----------------------------------------------------------------------------------------

    def kept_rows(self, model: str) -> Sequence[KeptRow]:
        with self._database.read() as connection:
            return _kept_rows(connection, model)

    def models_with_kept_rows(self) -> Sequence[str]:
        with self._database.read() as connection:
            return sorted(connection.execute(select(kept_rows.c.model)).scalars())

    def keep_rows(self, model: str, rows: Sequence[KeptRow]) -> None:
        rows = together((), rows)  # The others are left out here already, because the transaction should be short.
        with self._database.write() as connection:
            _save_kept_rows(connection, model, together(_kept_rows(connection, model), rows))

    def forget_rows(self, model: str, before: datetime) -> None:
        with self._database.write() as connection:
            _save_kept_rows(connection, model, [one for one in _kept_rows(connection, model) if one.at >= before])


def _put(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Inserts or updates the row of `key`. It takes two statements, because no upsert is portable."""
    matches = [table.c[name] == value for name, value in key.items()]
    if connection.execute(update(table).where(*matches).values(**values)).rowcount == 0:
        connection.execute(insert(table).values(**key, **values))


def _save_model(connection: Connection, state: ModelState) -> None:
    _put(connection, models, {"model": state.model}, {"document": MODEL_STATE.dump(state)})


def _kept_rows(connection: Connection, model: str) -> Sequence[KeptRow]:
    text = connection.execute(select(kept_rows.c.document).where(kept_rows.c.model == model)).scalar()
    return [] if text is None else from_text(text)


def _save_kept_rows(connection: Connection, model: str, rows: Sequence[KeptRow]) -> None:
    if rows:
        _put(connection, kept_rows, {"model": model}, {"document": to_text(rows)})
    else:
        connection.execute(delete(kept_rows).where(kept_rows.c.model == model))


def _emit(connection: Connection, events: Iterable[Event]) -> None:
    for one in events:
        connection.execute(insert(events_table).values(model=one.model, rollout=one.rollout, document=EVENT.dump(one)))
