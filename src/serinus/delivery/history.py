"""Which releases have been champion, and which of them a rollback may return to. Pure.

`rollouts`: of one model, newest first; those that were promoted are enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serinus.core.examination import Outcome
from serinus.core.release import Release
from serinus.core.rollout import Cause, Kind, Phase, Rollout

_LIVE = (Phase.PROMOTING, Phase.PROMOTED)
"""The model's state names the release as champion from PROMOTING on."""


def champions(rollouts: Sequence[Rollout]) -> Mapping[str, Release]:
    """Release id -> release, of every one that was champion, the latest first."""
    return {r.candidate.id: r.candidate for r in rollouts if r.status.phase in _LIVE and r.candidate}


def rolled_back_from(rollouts: Sequence[Rollout]) -> Mapping[str, str]:
    """Release id -> the rollback that took its traffic away, of those that were not promoted again since."""
    found: dict[str, str] = {}
    for rollout in reversed(rollouts):
        if rollout.status.phase not in _LIVE or rollout.candidate is None:
            continue
        found.pop(rollout.candidate.id, None)
        if rollout.kind is Kind.ROLLBACK and rollout.plan is not None and rollout.plan.champion is not None:
            found[rollout.plan.champion] = rollout.id
    return found


def champion_before(current: str, rollouts: Sequence[Rollout]) -> Release | None:
    """The latest champion other than `current` that nobody has rolled back from."""
    out = rolled_back_from(rollouts)
    return next((one for one in champions(rollouts).values() if one.id != current and one.id not in out), None)


def why_never_champion(last: Rollout | None) -> str:
    """Why a release that was built was never champion, in words; `last`: the newest rollout of it."""
    if last is None:
        return "no rollout of it was promoted"
    if last.status.phase is Phase.APPROVAL:
        return f"it waits for an approval in {last.id}"
    if not last.status.phase.ended:
        return f"it is still being tried in {last.id}"
    failed = next((gate.gate for gate in last.gates if gate.outcome is Outcome.FAIL), None)
    if last.status.cause is Cause.GATE and failed is not None:
        return f"it failed the gate {failed} in {last.id}"
    return f"it was aborted in {last.id}: {last.status.reason}"
