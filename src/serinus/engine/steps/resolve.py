"""The phase `resolve`: downloads and scans the files of a version, and makes the plan."""

from __future__ import annotations

from serinus import spec as specs
from serinus.core.names import spec_file
from serinus.core.rollout import Plan, Rollout
from serinus.delivery import Resolved
from serinus.engine.policies import policy_of
from serinus.engine.world import World
from serinus.gates import scan


def resolve(world: World, rollout: Rollout) -> Resolved:
    """Returns files and plan. Raises NotFound, Refused (the version is not READY), Unbuildable and Unavailable."""
    spec = specs.load(rollout.spec, source=spec_file(rollout.model), model=rollout.model)
    artifact = world.registry.fetch(world.registry.find(rollout.model, rollout.version))
    champion = world.store.model(rollout.model).champion
    asked = specs.approval_required(spec)
    plan = Plan(
        champion=champion.id if champion else None,
        champion_version=champion.version if champion else None,
        steps=specs.steps(spec) if champion else (),
        policy=specs.policy(spec),
        approval_required=asked or policy_of(world.store, rollout.model).asks(rollout.actor),
        settings=specs.settings(spec),
        scale=specs.scale(spec),
        slow_ms=specs.slow_ms(spec),
        accepts=specs.accepts(spec),
    )
    return Resolved(artifact=artifact, plan=plan, scan=scan(world.trials.scan(artifact.digest)))
