"""The approval policies of models, and which deployments need an approval."""

from __future__ import annotations

from collections.abc import Sequence

from serinus import spec as specs
from serinus.core.errors import InvalidInput, NotFound, Refused
from serinus.core.events import Event
from serinus.core.people import Access, Actor
from serinus.core.rollout import Kind, Phase
from serinus.engine.policies import ModelPolicy, digest_of, has_policy, keep_policy, loosened, policy_of
from serinus.engine.world import World

HISTORY = 10_000
"""The largest number of promotions of one model that are read to find its last deployment."""


class Approvals:
    """The strictest of three decides whether a deployment needs an approval: the model's policy, its former spec and
    the new one."""

    def __init__(self, world: World) -> None:
        self._world = world

    def asked_before(self, model: str, before: str | None, actor: Actor) -> bool:
        """Whether this deployment of `actor` needs an approval, whatever its own spec says. `before` is the former
        spec."""
        policy = policy_of(self._world.store, model)
        return policy.asks(actor) or self._counts(policy, model, before)

    def _counts(self, policy: ModelPolicy, model: str, before: str | None) -> bool:
        """Whether the spec `before` requires an approval, and no approver has withdrawn that since."""
        found = [before, *self._of_a_home_before_policies(model)]
        return any(text and policy.loosened_spec != digest_of(text) and _asks(model, text) for text in found)

    def _of_a_home_before_policies(self, model: str) -> Sequence[str]:
        """Returns the spec by which the champion was deployed, where the model never had a policy.

        The spec in the fleet repository may have been changed by a push since.
        """
        if has_policy(self._world.store, model):
            return ()
        rollouts = self._world.store.rollouts(model, limit=HISTORY, promoted=True)
        return [r.spec for r in rollouts if r.kind is Kind.DEPLOY and r.status.phase is Phase.PROMOTED][:1]

    def tighten(self, model: str, text: str, before: str | None, actor: Actor) -> None:
        """Makes the model's policy stricter where its own or its former spec requires an approval. It never becomes
        looser.

        The former spec may have come by a push. The policy is stored before the new spec is.
        """
        policy = policy_of(self._world.store, model)
        if policy.approval_required:
            return
        by_itself = _asks(model, text)
        if by_itself or self._counts(policy, model, before):
            why = "the spec requires it" if by_itself else "the former spec requires it"
            details = {"approval": "required"}
            self._world.store.audit(actor, "set-policy", model, why, details, self._world.clock.now())
            self._keep(model, ModelPolicy(approval_required=True), actor, why)

    def set(self, model: str, required: bool, actor: Actor, why: str = "") -> str:
        """Sets the model's policy, and returns it in words. A rollout in flight keeps the policy with which it began.

        Raises Refused where an actor without the role approve would loosen it.
        """
        store = self._world.store
        if store.model(model).champion is None and not store.rollouts(model, limit=1):
            raise NotFound(f"no model {model} is deployed", hint=f"`serinus deploy {model}@VERSION` begins.")
        spec = self._world.fleet.read(model)
        now = policy_of(self._world.store, model)
        wanted = ModelPolicy(approval_required=True) if required else loosened(actor, spec)
        # To loosen it again changes nothing, unless another person than the one who has loosened it does so.
        same_loosener = now.loosened_by in ("", wanted.loosened_by)
        if now.approval_required == required and (required or same_loosener):
            return f"{_in_words(model, now)} already"
        if not required and actor.access not in (Access.APPROVE, Access.ADMIN):
            raise Refused(
                f"{actor.name} may not loosen the policy of {model}: that needs the role approve",
                hint="Ask a person with that role.",
            )
        self._keep(model, wanted, actor, why)
        still = not required and spec is not None and _asks(model, spec)
        more = (
            "; its spec in the fleet repository still requires one: deploy with a spec that does not" if still else ""
        )
        return f"from now on, {_in_words(model, wanted)}{more}"

    def _keep(self, model: str, policy: ModelPolicy, actor: Actor, why: str) -> None:
        now = self._world.clock.now()
        word = "required" if policy.approval_required else "no longer required"
        text = f"{actor.shown} changed the policy of {model}: an approval is {word}" + (f" ({why})" if why else "")
        keep_policy(self._world.store, model, policy)
        self._world.store.emit([Event(now, model, None, "policy-changed", text)])


def _asks(model: str, text: str) -> bool:
    """Whether the spec requires an approval. A spec that cannot be read is taken to require one."""
    try:
        return specs.approval_required(specs.load(text, model=model))
    except InvalidInput:
        return True


def _in_words(model: str, policy: ModelPolicy) -> str:
    if policy.approval_required:
        return f"every version of {model} needs the approval of another person"
    but = f", except what {policy.loosened_by} or an alias deploys" if policy.loosened_by else ""
    return f"every version of {model} needs no approval{but}"


def of_its_spec(model: str, before: str | None, text: str) -> str:
    """Returns a sentence for the approver that says what the approval of the spec covers."""
    try:
        old = specs.load(before, model=model) if before else None
    except InvalidInput:
        old = None
    changed = specs.differing(old, specs.load(text, model=model)) if old else ["all of it"]
    return f"the approval also covers its spec, which changes: {', '.join(changed) or 'comments'}"
