"""The audit record of requests over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from serinus.api.ports import World
from serinus.core.errors import SerinusError
from serinus.core.people import Actor


@contextmanager
def audited(
    world: World, actor: Actor, what: str, subject: str, why: str, details: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Records an act before it happens, so that none is missing after a crash, and again where it is refused."""
    world.store.audit(actor, what, subject, why, details or {}, world.clock.now())
    try:
        yield
    except SerinusError as error:
        refusal = {**(details or {}), "reason": error.message}
        world.store.audit(actor, f"{what}-refused", subject, why, refusal, world.clock.now())
        raise
