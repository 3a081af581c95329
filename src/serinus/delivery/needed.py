"""Which releases of a model are needed. The files of all others may be removed. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from serinus.core.release import Release
from serinus.core.rollout import Kind, ModelState, Phase, Rollout
from serinus.delivery.history import champion_before

_LIVE = (Phase.PROMOTING, Phase.PROMOTED)

Needed = Mapping[Release, str]
"""The releases that are needed, each with the reason in words."""


def needed_releases(
    state: ModelState, rollouts: Sequence[Rollout], flying: Sequence[Rollout], keep_for: timedelta, now: datetime
) -> Needed:
    """Returns the releases of a model whose files must be kept.

    `rollouts` are all rollouts of the model, newest first. `flying` are those that are in flight or wait for another
    one to end. A former champion is kept for `keep_for` after it was replaced.
    """
    found: dict[Release, str] = {}
    if state.champion is not None:
        found[state.champion] = "champion"
    for rollout in flying:
        if rollout.candidate is not None:
            found.setdefault(rollout.candidate, f"{rollout.id} has not ended")
        if rollout.kind is Kind.RETIRE and state.retired is not None:
            found.setdefault(state.retired.release, f"{rollout.id} has not ended")
    if state.champion is not None:
        before = champion_before(state.champion.id, rollouts)
        for release in (state.previous, before):
            if release is not None:
                found.setdefault(release, "it is the target of a rollback")
    for release, until in _replaced(state, rollouts):
        if now - until < keep_for:
            found.setdefault(release, f"champion until {until:%Y-%m-%d %H:%M} UTC")
    return found


def _replaced(state: ModelState, rollouts: Sequence[Rollout]) -> Sequence[tuple[Release, datetime]]:
    """Returns the former champions, the latest first, each with the time at which it was replaced."""
    found: list[tuple[Release, datetime]] = []
    until = state.retired.since if state.retired is not None else None
    for rollout in rollouts:
        if rollout.status.phase not in _LIVE or rollout.candidate is None:
            continue
        if until is not None:
            found.append((rollout.candidate, until))
        until = rollout.status.since
    return found
