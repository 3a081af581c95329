"""What holds for every deployment of a model, whatever its spec says.

Kept apart from the spec, which whoever deploys may write, and from the model's state, which the engine writes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from serinus import spec as specs
from serinus.core.people import Access, Actor
from serinus.core.ports import Settings
from serinus.core.rollout import Rollout
from serinus.engine.world import World


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    approval_required: bool = False
    """Somebody other than who asked approves a version before it gets traffic."""
    loosened_by: str = ""
    """Name of the token by which an approver, not an admin, said last that no approval is needed."""
    loosened_owner: str = ""
    loosened_spec: str = ""
    """Digest of the spec that was in force then: what it asks for was loosened with the policy."""

    def asks(self, actor: Actor) -> bool:
        """Whether what `actor` deploys needs an approval. Who has loosened the policy does not deploy by it alone; nor
        does a registry's alias, which may be theirs."""
        if self.approval_required:
            return True
        loosener = Actor(self.loosened_by, Access.APPROVE, owner=self.loosened_owner)
        return bool(self.loosened_by) and (actor.is_nobody or actor.may_be(loosener))


def loosened(actor: Actor, spec: str | None) -> ModelPolicy:
    """The policy after `actor` has said that no approval is needed. An admin, who issues the tokens, is not held to
    four eyes by them."""
    digest = digest_of(spec) if spec else ""
    if actor.access is Access.ADMIN:
        return ModelPolicy(loosened_spec=digest)
    return ModelPolicy(loosened_by=actor.name, loosened_owner=actor.owner, loosened_spec=digest)


def digest_of(spec: str) -> str:
    return hashlib.sha256(spec.encode()).hexdigest()


def keep_spec(world: World, rollout: Rollout) -> None:
    """Makes the rollout's spec the model's: in the fleet repository, and in what the prediction log keeps."""
    model, why = rollout.model, rollout.why or f"Deploy {rollout.model}"
    if rollout.approver:
        why += f"\n\nApproved by {rollout.approver.shown}."
    world.fleet.write(model, rollout.spec, who=rollout.actor.name, why=why)
    world.log.retain(model, specs.load(rollout.spec, model=model).retention.predictions.days)


def has_policy(settings: Settings, model: str) -> bool:
    """Whether one was ever set."""
    return settings.setting(_key(model)) is not None


def policy_of(settings: Settings, model: str) -> ModelPolicy:
    text = settings.setting(_key(model))
    return ModelPolicy(**json.loads(text)) if text else ModelPolicy()


def keep_policy(settings: Settings, model: str, policy: ModelPolicy) -> None:
    settings.set_setting(_key(model), json.dumps(asdict(policy)))


def _key(model: str) -> str:
    return f"policy.{model}"
