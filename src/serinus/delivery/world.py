"""The traffic, the counts and the model's state that belong to a status. They are derived from it and never stored
apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from serinus.core.evidence import Watch
from serinus.core.examination import Outcome
from serinus.core.release import Release
from serinus.core.rollout import Cause, Kind, ModelState, Phase, Retired, Rollout
from serinus.core.routing import WHOLE, Arm, Role, Routing


def split_token(rollout_id: str, step: int) -> str:
    """Returns the token of the split of a canary step."""
    return f"{rollout_id}.{step}"


def split_of(rollout: Rollout) -> str:
    """Returns the token of the split of the present step."""
    return rollout.steps[-1].split if rollout.steps else split_token(rollout.id, rollout.status.step)


def steady_token(release_id: str) -> str:
    """Returns the token of the split in which `release_id` has all the traffic."""
    return f"steady.{release_id}"


def canary_weight(rollout: Rollout | None) -> int:
    """Returns the weight of the candidate, from 0 to `WHOLE`.

    It is 0 outside the canary phase, and while the canary's traffic is taken away.
    """
    if rollout is None or rollout.status.phase is not Phase.CANARY or rollout.plan is None or rollout.status.suspended:
        return 0
    return rollout.plan.steps[rollout.status.step].weight


def routing_of(state: ModelState, rollout: Rollout | None, endpoints: Mapping[str, str]) -> Routing | None:
    """Returns the traffic of a model. `endpoints` are the addresses of releases by their ids.

    None: no release is live, or the champion has no endpoint yet. The routing in force then stays as it is. The
    champion in the state becomes the candidate in the transaction that enters `promoting`, so that the same rule holds
    before, during and after a rollout.
    """
    champion = state.champion
    if champion is None or champion.id not in endpoints:
        return None
    weight = canary_weight(rollout)
    candidate = rollout.candidate if rollout else None
    if weight == 0 or rollout is None or candidate is None or candidate.id not in endpoints:
        return _routing(champion, (Arm(champion.id, WHOLE, Role.CHAMPION, endpoints[champion.id]),), "", None)
    arms = (
        Arm(champion.id, WHOLE - weight, Role.CHAMPION, endpoints[champion.id]),
        Arm(candidate.id, weight, Role.CANARY, endpoints[candidate.id]),
    )
    return _routing(champion, arms, rollout.salt, split_of(rollout))


def _routing(champion: Release, arms: tuple[Arm, ...], salt: str, split: str | None) -> Routing:
    return Routing(
        model=champion.model,
        arms=arms,
        split=split or steady_token(champion.id),
        salt=salt,
        timeout_ms=champion.settings.timeout_ms,
        fallback_score=champion.settings.fallback_score,
    )


def step_watch(rollout: Rollout) -> Watch | None:
    """Returns what the prediction log must count for the present step. None: the rollout is not in the canary phase."""
    if rollout.status.phase is not Phase.CANARY or rollout.plan is None or rollout.candidate is None:
        return None
    thresholds = {}
    if rollout.plan.champion is not None and rollout.champion_threshold is not None:
        thresholds[rollout.plan.champion] = rollout.champion_threshold
    if rollout.threshold is not None:
        thresholds[rollout.candidate.id] = rollout.threshold
    if len(thresholds) < 2:  # Alerts are counted only where both releases have a threshold.
        thresholds = {}
    return Watch(
        split=split_of(rollout),
        rollout=rollout.id,
        model=rollout.model,
        thresholds=thresholds,
        slow_ms=rollout.plan.slow_ms or float(rollout.plan.settings.timeout_ms),
    )


def after_promotion(state: ModelState, rollout: Rollout) -> ModelState:
    """Returns the model's state after `rollout` was promoted. Applying it twice gives the same state."""
    assert rollout.candidate is not None
    if state.champion is not None and state.champion.id == rollout.candidate.id:
        return state
    aborted = {v: r for v, r in state.aborted.items() if v != rollout.version}
    if rollout.kind is Kind.ROLLBACK and state.champion is not None:
        aborted[state.champion.version] = rollout.id
    return replace(
        state,
        champion=rollout.candidate,
        champion_threshold=rollout.threshold,
        previous=state.champion,
        scale=rollout.plan.scale if rollout.plan else state.scale,
        since=rollout.status.since,
        aborted=aborted,
        who=rollout.actor.name,
        why=rollout.why or rollout.status.reason,
        notes=_of_the_gates(rollout),
        retired=None,
        lost={},
    )


def _of_the_gates(rollout: Rollout) -> tuple[str, ...]:
    """Returns notes about gates that were not passed before the champion went live."""
    if rollout.kind is Kind.DEPLOY and any(
        gate.gate == "asked" and gate.outcome is Outcome.INCONCLUSIVE for gate in rollout.gates
    ):
        return ("the champion went live without being asked before: its spec accepts that (gates.accept: unasked)",)
    return ()


def after_retirement(state: ModelState, rollout: Rollout) -> ModelState:
    """Returns the model's state after `rollout` took it out of service. Applying it twice gives the same state."""
    if state.champion is None:
        return state
    since = rollout.status.since
    return replace(
        state,
        champion=None,
        champion_threshold=None,
        previous=None,
        since=since,
        who=rollout.actor.name,
        why=rollout.why,
        notes=(),
        retired=Retired(state.champion, since, rollout.actor.shown, rollout.why),
        lost={},
    )


def after_scaling(state: ModelState, rollout: Rollout) -> ModelState:
    """Returns the model's state after `rollout` changed its scale. Applying it twice gives the same state."""
    assert rollout.plan is not None
    if state.scale == rollout.plan.scale:
        return state
    return replace(state, scale=rollout.plan.scale, scale_before=state.scale)


def after_scaled(state: ModelState) -> ModelState:
    """Returns the model's state once everything that serves it has its scale."""
    return replace(state, scale_before=None)


def after_abort(state: ModelState, rollout: Rollout) -> ModelState:
    """Returns the model's state after `rollout` was aborted. The version is not deployed again without a reason. An
    aborted change of scale restores the earlier scale."""
    if rollout.kind is Kind.SCALE and state.scale_before is not None:
        return replace(state, scale=state.scale_before, scale_before=None)
    if state.aborted.get(rollout.version) == rollout.id or rollout.status.cause is Cause.SUPERSEDED:
        return state
    if state.champion is not None and state.champion.version == rollout.version:
        return state  # The failure of a rollback or of a change of settings is not the version's.
    return replace(state, aborted={**state.aborted, rollout.version: rollout.id})
