"""Policies that hold for every deployment of a model, whatever its spec says.

A policy is stored apart from the spec, which everybody who deploys may write, and from the model's state, which the
engine writes.
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
    """The policy of a model."""

    approval_required: bool = False
    """Another person than the requester must approve a version before it gets traffic."""
    loosened_by: str = ""
    """The name of the token with which an approver, who is not an admin, has last loosened the policy."""
    loosened_owner: str = ""
    loosened_spec: str = ""
    """The digest of the spec at that time. Its requirement of an approval was loosened with the policy."""

    def asks(self, actor: Actor) -> bool:
        """Whether a deployment of `actor` needs an approval.

        A person who has loosened the policy does not deploy without an approval because of that. Neither does an alias
        of the registry, which the same person may have set.
        """
        if self.approval_required:
            return True
        loosener = Actor(self.loosened_by, Access.APPROVE, owner=self.loosened_owner)
        return bool(self.loosened_by) and (actor.is_nobody or actor.may_be(loosener))


def loosened(actor: Actor, spec: str | None) -> ModelPolicy:
    """Returns the policy after `actor` has loosened it.

    The four-eyes rule does not apply to an admin, who issues the tokens.
    """
    digest = digest_of(spec) if spec else ""
    if actor.access is Access.ADMIN:
        return ModelPolicy(loosened_spec=digest)
    return ModelPolicy(loosened_by=actor.name, loosened_owner=actor.owner, loosened_spec=digest)


def digest_of(spec: str) -> str:
    """Returns the digest of a spec."""
    return hashlib.sha256(spec.encode()).hexdigest()


def keep_spec(world: World, rollout: Rollout) -> None:
    """Makes the rollout's spec the model's, in the fleet repository and in the retention of the prediction log."""
    model, why = rollout.model, rollout.why or f"Deploy {rollout.model}"
    if rollout.approver:
        why += f"\n\nApproved by {rollout.approver.shown}."
    world.fleet.write(model, rollout.spec, who=rollout.actor.name, why=why)
    world.log.retain(model, specs.load(rollout.spec, model=model).retention.predictions.days)


def has_policy(settings: Settings, model: str) -> bool:
    """Whether the model ever had a policy."""
    return settings.setting(_key(model)) is not None


def policy_of(settings: Settings, model: str) -> ModelPolicy:
    """Returns the policy of the model."""
    text = settings.setting(_key(model))
    return ModelPolicy(**json.loads(text)) if text else ModelPolicy()


def keep_policy(settings: Settings, model: str, policy: ModelPolicy) -> None:
    """Stores the policy of the model."""
    settings.set_setting(_key(model), json.dumps(asdict(policy)))


def _key(model: str) -> str:
    return f"policy.{model}"
