"""The registry's facts about a version, for the model's first spec."""

from __future__ import annotations

from serinus import spec as specs
from serinus.core.errors import NotFound
from serinus.core.release import VersionRef
from serinus.engine.world import World

EVALUATION = ("evaluation.parquet", "evaluation.csv")
GOLDEN = ("golden.json",)


def facts_of(world: World, ref: VersionRef | None) -> specs.Facts:
    """Returns the facts of `ref`. None as the version: nothing is known."""
    if ref is None:
        return specs.Facts()
    artifact = world.registry.fetch(ref)
    return specs.Facts(
        version=ref.version,
        flavor=artifact.flavor,
        columns=artifact.inputs,
        evaluation=_logged(world, ref, EVALUATION),
        golden=_logged(world, ref, GOLDEN),
    )


def by_alias(world: World, model: str) -> VersionRef | None:
    """Returns the version with the alias challenger, or else champion. None: there is neither."""
    for alias in ("challenger", "champion"):
        try:
            return world.registry.find(model, alias)
        except NotFound:
            continue
    return None


def _logged(world: World, ref: VersionRef, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if world.registry.run_file(ref, name) is not None), None)
