"""The rows of rollouts and of the orders to them. All functions must be called in a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Connection, insert, select

from serinus.backends.sql.documents import ORDER, ROLLOUT
from serinus.backends.sql.tables import orders, rollouts
from serinus.core.errors import NotFound, Refused
from serinus.core.rollout import Order, Phase, Rollout


def in_flight(rollout: Rollout) -> bool:
    return not rollout.status.phase.ended


def searched(rollout: Rollout) -> Mapping[str, Any]:
    """Returns the columns that have an index."""
    return {
        "in_flight": in_flight(rollout),
        "version": rollout.version,
        "release": rollout.candidate.id if rollout.candidate else None,
        "promoted": rollout.status.phase in (Phase.PROMOTING, Phase.PROMOTED),
    }


def add_order(connection: Connection, rollout_id: str, order: Order, *, in_flight: bool) -> bool:
    """Stores an order. Returns False where the rollout has ended. The same order twice is stored once."""
    document = ORDER.dump(order)
    there = connection.execute(select(orders.c.document).where(orders.c.rollout == rollout_id)).scalars().all()
    if ORDER.load(document) in map(ORDER.load, there):
        return True
    if in_flight:
        connection.execute(insert(orders).values(rollout=rollout_id, document=document))
    return in_flight


def row(connection: Connection, rollout_id: str) -> Any:
    query = select(rollouts.c.number, rollouts.c.document, rollouts.c.in_flight).where(rollouts.c.id == rollout_id)
    row = connection.execute(query).first()
    if row is None:
        raise missing(connection, rollout_id)
    return row


def missing(connection: Connection, rollout_id: str) -> NotFound:
    ids = connection.execute(select(rollouts.c.id).order_by(rollouts.c.number.desc()).limit(1000)).scalars().all()
    near = get_close_matches(rollout_id, ids, n=3)
    hint = f"Near ones: {', '.join(near)}." if near else "`serinus status` lists them."
    return NotFound(f"There is no rollout {rollout_id!r}.", hint=hint)


def refuse_a_second(connection: Connection, rollout: Rollout) -> None:
    query = select(rollouts.c.document).where(
        rollouts.c.model == rollout.model, rollouts.c.in_flight, rollouts.c.id != rollout.id
    )
    text = connection.execute(query).scalar()
    if text is not None:
        other = ROLLOUT.load(text)
        raise Refused(
            f"A rollout of {rollout.model} is already in flight: {other.id} "
            f"(version {other.version}, {other.status.phase}, requested by {other.actor.name}).",
            hint=f"Watch it with `serinus status {rollout.model}`, end it with `serinus abort {rollout.model}`, "
            "or deploy with `--supersede` to put this one in its place.",
        )
