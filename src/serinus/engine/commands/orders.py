"""Orders to rollouts that are in flight: promote, abort and approve."""

from __future__ import annotations

from serinus.core.errors import InvalidInput, NotFound, Refused
from serinus.core.people import Actor
from serinus.core.rollout import Kind, Order, Phase, Rollout
from serinus.delivery import may_approve
from serinus.engine.commands.rollouts import HISTORY, Rollouts
from serinus.engine.news import News
from serinus.engine.world import World


class Orders:
    """Checks orders and stores them. The engine's next tick carries them out."""

    def __init__(self, world: World, rollouts: Rollouts, news: News) -> None:
        self._world = world
        self._rollouts = rollouts
        self._news = news

    def order(self, rollout_id: str, kind: str, *, actor: Actor, why: str = "") -> str:
        """See `Desk.order`."""
        rollout = self._meant(rollout_id)
        if rollout.status.phase.ended:
            raise Refused(f"{rollout.id} has ended: {rollout.status.phase.value}. {rollout.status.reason}")
        order = Order(kind, actor, why, self._world.clock.now())
        _check_order(rollout, order)
        if kind == "approve" and rollout.actor.is_nobody:
            self._check_nobodys(rollout, actor)
        self._world.store.order(rollout.id, order)
        self._news.tell(rollout.model)
        return f"{kind} of {rollout.id} ({rollout.model}@{rollout.version}) is ordered"

    def _meant(self, wanted: str) -> Rollout:
        """Returns the rollout with this id, or the one in flight of the model with this name.

        A model may have the name of another model's rollout, which is refused as ambiguous.
        """
        of_model = self._rollouts.in_flight(wanted)
        if of_model is None:
            return self._world.store.rollout(wanted)
        try:
            by_id = self._world.store.rollout(wanted)
        except NotFound:
            return of_model
        raise Refused(
            f"{wanted} is a rollout of {by_id.model}, and a model whose rollout {of_model.id} is in flight",
            hint=f"Name the model {by_id.model} or the rollout {of_model.id}.",
        )

    def _check_nobodys(self, rollout: Rollout, actor: Actor) -> None:
        """Refuses the approval of a person who has requested the same version before, and so may have set the alias."""
        for before in self._world.store.rollouts(rollout.model, limit=HISTORY, version=rollout.version):
            if before.kind is Kind.DEPLOY and not before.actor.is_nobody and actor.may_be(before.actor):
                raise Refused(
                    f"{rollout.id} was requested by an alias, and its version in {before.id} by {before.actor.shown}: "
                    "it must be approved by another person",
                    hint="Ask a person with the role approve who has not requested it.",
                )


def _check_order(rollout: Rollout, order: Order) -> None:
    phase = rollout.status.phase
    if order.kind == "promote" and phase is not Phase.CANARY:
        raise Refused(
            f"{rollout.id} is in the phase {phase.value}: only a rollout in the phase canary can be promoted early"
        )
    if order.kind == "approve":
        if phase is not Phase.APPROVAL:
            raise Refused(f"{rollout.id} is in the phase {phase.value}: it does not wait for an approval")
        if not may_approve(rollout, order):
            asked = f"{rollout.id} was requested by {rollout.actor.shown}"
            raise Refused(
                f"{asked}: it must be approved by another person, with the role approve and a token of another owner"
            )
    if order.kind == "abort" and phase in (Phase.PROMOTING, Phase.ABORTING, Phase.RETIRING):
        hint = f"`serinus rollback {rollout.model}` reverts it." if phase is Phase.PROMOTING else ""
        raise Refused(f"{rollout.id} is already in the phase {phase.value}", hint=hint)
    if order.kind not in ("promote", "approve", "abort"):
        raise InvalidInput(f"no order '{order.kind}'", hint="The orders are promote, abort and approve.")
