"""The phase `build`: the environment of the version, and the release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from serinus.core.errors import Unbuildable
from serinus.core.release import Artifact, Compiled, Environment, Release, ServingSettings
from serinus.core.rollout import Rollout
from serinus.delivery import Built
from serinus.engine.steps.compile import compile_model
from serinus.engine.world import World


def build(world: World, rollout: Rollout, say: Callable[[str], None]) -> Built:
    """Builds the environment. `say` gets the progress, a line at a time. Raises Unbuildable and Unavailable."""
    assert rollout.plan is not None
    artifact = _fetched(world, rollout)
    environment = world.environments.prepare(
        artifact.requirements, lambda built: world.trials.loads(built.digest, artifact.digest), say
    )
    compiled, note = compile_model(world, rollout, artifact, environment, say)
    settings = rollout.plan.settings
    release = release_of(rollout, artifact, environment, settings, compiled, world.clock.now())
    world.store.add_release(release)
    return Built(candidate=release, notes=(*environment.tried, note))


def _fetched(world: World, rollout: Rollout) -> Artifact:
    """Returns the files that were resolved. They may have been fetched onto the disk of another control plane."""
    assert rollout.artifact is not None
    found = world.registry.fetch(world.registry.find(rollout.model, rollout.version))
    if found.digest != rollout.artifact.digest:
        raise Unbuildable(
            f"the files of {rollout.model}@{rollout.version} in the registry have changed since they were scanned.",
            hint="Deploy the version again.",
        )
    return rollout.artifact


def release_of(
    rollout: Rollout,
    artifact: Artifact,
    environment: Environment,
    settings: ServingSettings,
    compiled: Compiled | None,
    now: datetime,
) -> Release:
    """Returns the release of these contents and settings."""
    return Release(
        id=release_id(rollout.model, rollout.version, artifact.digest, environment.digest, settings, compiled),
        model=rollout.model,
        version=rollout.version,
        artifact_digest=artifact.digest,
        environment_digest=environment.digest,
        settings=settings,
        created_at=now,
        compiled=compiled,
    )


def release_id(
    model: str, version: str, artifact: str, environment: str, settings: ServingSettings, compiled: Compiled | None
) -> str:
    """Returns the id of a release. The same files, environment, settings and graph have the same id on every
    machine."""
    digests = [artifact, environment, *([compiled.digest] if compiled else ())]
    usual = asdict(ServingSettings())
    # Only settings that differ from their defaults count, so that a new setting does not make a new release.
    chosen = {name: value for name, value in asdict(settings).items() if value != usual[name]}
    content = json.dumps([*digests, chosen], sort_keys=True)
    return f"{model}-{version}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"
