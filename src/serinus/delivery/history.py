"""Which releases of a model have been champion, and which of them a rollback may return to. Pure functions.

`rollouts` are those of one model, newest first. Rollouts that were not promoted may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serinus.core.examination import Outcome
from serinus.core.release import Release
from serinus.core.rollout import Cause, Kind, Phase, Rollout

_LIVE = (Phase.PROMOTING, Phase.PROMOTED)
"""The phases in which the model's state names the release of the rollout as champion."""


def champions(rollouts: Sequence[Rollout]) -> Mapping[str, Release]:
    """Returns every release that was champion, by its id, the latest first."""
    return {r.candidate.id: r.candidate for r in rollouts if r.status.phase in _LIVE and r.candidate}


def rolled_back_from(rollouts: Sequence[Rollout]) -> Mapping[str, str]:
    """Returns the releases that a rollback replaced, each with the id of that rollback.

    Releases that were promoted again later are left out.
    """
    found: dict[str, str] = {}
    for rollout in reversed(rollouts):
        if rollout.status.phase not in _LIVE or rollout.candidate is None:
            continue
        found.pop(rollout.candidate.id, None)
        if rollout.kind is Kind.ROLLBACK and rollout.plan is not None and rollout.plan.champion is not None:
            found[rollout.plan.champion] = rollout.id
    return found


def champion_before(current: str, rollouts: Sequence[Rollout]) -> Release | None:
    """Returns the latest champion other than `current` that no rollback has replaced. None: there is none."""
    out = rolled_back_from(rollouts)
    return next((one for one in champions(rollouts).values() if one.id != current and one.id not in out), None)


def why_never_champion(last: Rollout | None) -> str:
    """Returns the reason why a release was never champion, in words. `last` is its newest rollout."""
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
