"""What the registry knows of a model, for its first spec."""

from __future__ import annotations

from serinus import spec as specs
from serinus.core.errors import NotFound
from serinus.core.release import VersionRef
from serinus.engine.world import World

EVALUATION = ("evaluation.parquet", "evaluation.csv")
GOLDEN = ("golden.json",)


def facts_of(world: World, ref: VersionRef | None) -> specs.Facts:
    """What is logged with `ref`. Without a version nothing is known."""
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
    """The version that is most likely meant: the challenger, else the champion, else None."""
    for alias in ("challenger", "champion"):
        try:
            return world.registry.find(model, alias)
        except NotFound:
            continue
    return None


def _logged(world: World, ref: VersionRef, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if world.registry.run_file(ref, name) is not None), None)
