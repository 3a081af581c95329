"""The desk takes the requests of people. It checks and stores them, and the engine's next tick carries them out."""

from __future__ import annotations

from serinus.core.merged import Merged
from serinus.core.people import Actor
from serinus.engine.commands.approvals import Approvals
from serinus.engine.commands.deployments import Deployments
from serinus.engine.commands.merges import Merges
from serinus.engine.commands.orders import Orders
from serinus.engine.commands.rollouts import Deployed, Rollouts
from serinus.engine.commands.withdrawals import Withdrawals
from serinus.engine.news import News
from serinus.engine.policies import ModelPolicy, policy_of
from serinus.engine.reconcile.watching import WATCH
from serinus.engine.world import World


class Desk:
    """All commands that a person, an alias or the watch after promotion may give.

    The methods raise InvalidInput, NotFound or Refused, whose hints say what to do, and Unavailable. `news` is told of
    every model that the engine has to visit.
    """

    def __init__(self, world: World, news: News | None = None) -> None:
        news = news or News()
        rollouts = Rollouts(world, news)
        self._world = world
        self._approvals = Approvals(world)
        self._deployments = Deployments(world, rollouts, self._approvals)
        self._withdrawals = Withdrawals(world, rollouts)
        self._orders = Orders(world, rollouts, news)
        self._merges = Merges(world, self._deployments, self._withdrawals)

    def deploy(
        self,
        *,
        ref: str | None,
        spec: str | None,
        actor: Actor,
        why: str = "",
        supersede: bool = False,
        source: str = "<spec>",
    ) -> Deployed:
        """Starts a rollout of `ref`, such as `model@7` or `model@challenger`.

        The rollout goes by `spec` (YAML text), or by the model's spec in the fleet repository. Errors call the spec
        `source`. With `supersede` it replaces a rollout that is in flight, which otherwise is an error.
        """
        return self._deployments.deploy(ref=ref, spec=spec, actor=actor, why=why, supersede=supersede, source=source)

    def deploy_by_alias(self, model: str, version: str) -> None:
        """Deploys a version for which the alias `challenger` was set in the registry.

        The requester is the person whom the registry names, or nobody. Nothing happens where that version is in flight
        already.
        """
        self._deployments.deploy_by_alias(model, version)

    def take_merged(self, merged: Merged) -> None:
        """Carries out what a person has changed in the fleet repository.

        A spec is deployed with the version that has the alias `challenger`, or else with the live one, and replaces a
        rollout in flight. What is live is rolled back to the release that the file names. Nothing happens where it was
        carried out already.
        """
        self._merges.take(merged)

    def initial_spec(self, model: str) -> str:
        """Returns the spec that `serinus init` writes: the one in the fleet repository, or else a first one.

        A first spec describes the version that has an alias, or was registered last. Raises InvalidInput where the
        fleet repository holds a spec that a deployment would refuse.
        """
        return self._deployments.initial_spec(model)

    def order(self, rollout_id: str, kind: str, *, actor: Actor, why: str = "") -> str:
        """Orders a rollout in flight to `promote`, `abort` or `approve`, and returns a sentence that says so.

        `rollout_id` may be the name of the model.
        """
        return self._orders.order(rollout_id, kind, actor=actor, why=why)

    def rollback(self, model: str, *, to: str | None, actor: Actor, why: str = "") -> Deployed:
        """Rolls back to the former champion, or to the release or version `to`. Ends the rollout in flight.

        A release that never was the champion is refused, because it has not passed gates, canary and approval. A
        release from which was rolled back before is returned to only by name.
        """
        return self._withdrawals.rollback(model, to=to, actor=actor, why=why)

    def roll_back(self, model: str, release: str, why: str) -> str:
        """Rolls back to `release` on behalf of the watch after promotion, and returns the result in words."""
        return self.rollback(model, to=release, actor=WATCH, why=why).message

    def retire(self, model: str, *, abort: bool, actor: Actor, why: str) -> Deployed:
        """Takes the model out of service. Its record is kept.

        A rollout in flight is an error, unless `abort` is set, which ends it first. Raises InvalidInput without a
        reason.
        """
        return self._withdrawals.retire(model, abort=abort, actor=actor, why=why)

    def set_approval(self, model: str, required: bool, *, actor: Actor, why: str = "") -> str:
        """Sets whether every version of the model needs the approval of another person. Returns the policy in words."""
        return self._approvals.set(model, required, actor, why)

    def policy(self, model: str) -> ModelPolicy:
        """Returns the policy of the model."""
        return policy_of(self._world.store, model)
