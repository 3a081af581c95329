"""The creation of rollouts, and the search for the one in flight."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from serinus.core.people import Actor
from serinus.core.release import Release
from serinus.core.rollout import Kind, ModelState, Order, Phase, Rollout, Status
from serinus.engine.commands.plans import rollback_plan
from serinus.engine.happenings import event_of
from serinus.engine.news import News
from serinus.engine.queries.estimate import NO_ADVICE, Advice
from serinus.engine.world import World

HISTORY = 10_000
"""The largest number of rollouts of one model that are read to find former champions or requesters."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The result of a request that may have started a rollout."""

    rollout: str | None
    """The id of the rollout. None: none was started."""
    done: bool
    """Whether there was nothing to do."""
    message: str
    advice: Advice = NO_ADVICE


class Rollouts:
    """Creates rollouts in the store, and tells `news` of their models."""

    def __init__(self, world: World, news: News) -> None:
        self._world = world
        self._news = news

    def in_flight(self, model: str) -> Rollout | None:
        """Returns the model's rollout in flight. None: there is none."""
        return next(iter(self._world.store.in_flight(model)), None)

    def new(
        self,
        model: str,
        kind: Kind,
        version: str,
        asked_as: str,
        actor: Actor,
        why: str,
        spec: str,
        state: ModelState,
        release: Release | None = None,
    ) -> Rollout:
        """Returns a new rollout, which is not stored yet. `release` is the target of a rollback."""
        now = self._world.clock.now()
        number = self._world.store.next_number(model)
        return Rollout(
            id=f"{model}-r{number}",
            model=model,
            kind=kind,
            version=version,
            asked_as=asked_as,
            actor=actor,
            why=why,
            created_at=now,
            spec=spec,
            salt=secrets.token_hex(4),
            plan=rollback_plan(state, release) if release else None,
            status=Status(Phase.RESOLVE if kind is Kind.DEPLOY else Phase.PLACE, now),
            candidate=release,
            threshold=self._threshold_of(release) if release else None,
            champion_threshold=state.champion_threshold,
        )

    def begin(self, rollout: Rollout, in_flight: Rollout | None) -> None:
        """Stores the rollout. It begins now, or replaces the one `in_flight`."""
        store = self._world.store
        now = self._world.clock.now()
        if in_flight is None:
            store.create(rollout, [event_of("created", rollout, rollout, now)])
            self._news.tell(rollout.model)
            return
        order = Order("supersede", rollout.actor, f"{rollout.asked_as} takes its place", now)
        store.supersede(in_flight.id, order, rollout)
        self._news.tell(rollout.model)

    def last_of(self, release: Release) -> Rollout | None:
        """Returns the newest rollout of the release. None: there is none."""
        return next(iter(self._world.store.rollouts(limit=1, release=release.id)), None)

    def _threshold_of(self, release: Release) -> float | None:
        """Returns the threshold with which the release was last made the champion."""
        found = self._world.store.rollouts(limit=1, release=release.id, promoted=True)
        return found[0].threshold if found else None
