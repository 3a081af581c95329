"""Changes in the fleet repository, as orders of those who brought them in."""

from __future__ import annotations

from serinus.core.errors import NotFound, Refused, Unavailable
from serinus.core.merged import Merged, MergedFile
from serinus.core.people import Actor
from serinus.core.rollout import Order, Rollout
from serinus.delivery import CHALLENGER
from serinus.engine.commands.deployments import Deployments
from serinus.engine.commands.withdrawals import Withdrawals
from serinus.engine.merged_files import release_in, spec_in
from serinus.engine.world import World


class Merges:
    """Deploys what was merged, and rolls back to what was published before."""

    def __init__(self, world: World, deployments: Deployments, withdrawals: Withdrawals) -> None:
        self._world = world
        self._deployments = deployments
        self._withdrawals = withdrawals

    def take(self, merged: Merged) -> None:
        """See `Desk.take_merged`."""
        if merged.unreadable:
            raise Refused(merged.unreadable)
        why = f"{merged.summary} ({merged.path} in {merged.commit[:10]})"
        if self._begun(merged.model, why) is None:
            if merged.kind is MergedFile.SPEC:
                self._deploy(merged, why)
            elif merged.text is not None:
                self._roll_back(merged, why)
        if merged.approver is not None and (begun := self._begun(merged.model, why)) is not None:
            self._approve(begun, merged.approver, merged.commit)

    def _begun(self, model: str, why: str) -> Rollout | None:
        """Returns the rollout that this change has begun, also before a crash. None: there is none, or it has ended."""
        under_way = [*self._world.store.in_flight(model), *self._world.store.pending()]
        return next((one for one in under_way if (one.model, one.why) == (model, why)), None)

    def _approve(self, rollout: Rollout, approver: Actor, commit: str) -> None:
        store = self._world.store
        if not any(one.id == rollout.id for one in store.in_flight(rollout.model)):
            raise Unavailable(f"{rollout.id} begins, and is approved, once the rollout before it has ended.", delay=1.0)
        if not any(order.kind == "approve" for order in store.orders(rollout.id)):
            store.order(rollout.id, Order("approve", approver, f"merged {commit[:10]}", self._world.clock.now()))

    def _deploy(self, merged: Merged, why: str) -> None:
        model = merged.model
        text, _ = spec_in(model, merged.path, merged.text)  # Before a version is looked for.
        ref = f"{model}@{self._version(model)}"
        self._audit(merged, "deploy", ref, why)
        self._deployments.deploy(
            ref=ref,
            spec=text,
            actor=merged.author,
            why=why,
            supersede=True,
            source=merged.path,
        )

    def _version(self, model: str) -> str:
        """The one that people want to have tried, or else the one that is live."""
        state = self._world.store.model(model)
        wanted = self._world.registry.aliases().get(model, {}).get(CHALLENGER)
        if wanted is not None and wanted not in state.aborted:
            return wanted
        if state.champion is not None:
            return state.champion.version
        raise NotFound(
            f"{model} has no live version, and no version of it has the alias challenger",
            hint=f"Set the alias challenger in MLflow, or deploy one: `serinus deploy {model}@VERSION`.",
        )

    def _roll_back(self, merged: Merged, why: str) -> None:
        """What is live was reverted to what was live before."""
        release = release_in(merged.path, merged.text or "")
        state = self._world.store.model(merged.model)
        if state.champion is not None and state.champion.id != release:
            self._audit(merged, "rollback", f"{merged.model} to {release}", why)
            self._withdrawals.rollback(merged.model, to=release, actor=merged.author, why=why)

    def _audit(self, merged: Merged, act: str, what: str, why: str) -> None:
        self._world.store.audit(merged.author, act, what, why, {"commit": merged.commit}, self._world.clock.now())
