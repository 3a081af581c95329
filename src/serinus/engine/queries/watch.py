"""The watch of a champion after its promotion, for people. Only reads."""

from __future__ import annotations

from datetime import UTC, datetime

from serinus import judge
from serinus.judge import Watching
from serinus.resources import WatchedMetric, WatchOfChampion


def watch_of(watching: Watching | None, release: str, now: datetime) -> WatchOfChampion | None:
    """Returns the watch of a model's champion while it lasts. None: `release` is not watched."""
    if watching is None or watching.release != release or now.timestamp() >= watching.until:
        return None
    until = datetime.fromtimestamp(watching.until, UTC)
    what = (
        f"only reported if it degrades, because {watching.why_told}"
        if watching.why_told
        else "rolled back if it degrades"
    )
    decided = ". ".join(one for one in (watching.decided, watching.outcome) if one)
    metrics = [judge.seen(watching, name, now.timestamp()) for name in watching.baseline.tolerated]
    return WatchOfChampion(
        release=release,
        rollout=watching.rollout,
        until=until,
        rolls_back=watching.acts,
        summary=f"watched after its promotion until {until:%Y-%m-%d %H:%M} UTC; it is {what}",
        degraded=[decided] if decided else list(watching.told.values()),
        metrics=[WatchedMetric(**one) for one in metrics],
        not_watched=watching.baseline.not_watched,
    )
