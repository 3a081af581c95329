"""The releases and what became of them. Only reads."""

from __future__ import annotations

from collections.abc import Sequence

from serinus.engine.queries.running import placements_of, running, runs
from serinus.engine.world import World
from serinus.resources import ShownRelease


def shown_releases(world: World, model: str | None, limit: int | None, after: str | None) -> Sequence[ShownRelease]:
    """Returns releases, newest first. `after` is the last one of the previous page."""
    placements = placements_of(world)
    live = {state.champion.id for state in world.store.models() if state.champion}
    releases = world.store.releases(model, limit, after=after)
    last = world.store.last_rollouts([release.id for release in releases])
    shown = []
    for release in releases:
        rollout, placed = last.get(release.id), placements.get(release.id)
        shown.append(
            ShownRelease.of(
                release,
                champion=release.id in live,
                rollout=rollout.id if rollout else None,
                phase=rollout.status.phase.value if rollout else None,
                reason=rollout.status.reason if rollout else "",
                placement=placed.state.value if placed else "not running",
                runs=runs(placed),
                **running(placed),
            )
        )
    return shown
