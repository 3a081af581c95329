"""All models at a glance: the champion, the rollout in flight, and whether anything is wrong. Only reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from serinus.core.errors import SerinusError
from serinus.core.evidence import Streak, Totals, Traffic
from serinus.core.placement import Placement
from serinus.core.rollout import ModelState, Rollout
from serinus.delivery import CHAMPION, lost_text
from serinus.engine.distrust import Found, found_of
from serinus.engine.queries.outcomes import outcome_figures
from serinus.engine.queries.progress import progress
from serinus.engine.queries.rollouts import summary
from serinus.engine.queries.running import placements_of, running
from serinus.engine.queries.starting import is_starting, without_starting
from serinus.engine.queries.watch import watch_of
from serinus.engine.reconcile.watching import all_stored, stored
from serinus.engine.world import World
from serinus.judge import Watching
from serinus.resources import Champion, FormerChampion, Model, SilentModel
from serinus.resources.fleet import State

TRAFFIC_SECONDS = 300.0
FAILURES_TOLD, SHARE_TOLD = 10, 0.01
FEW_FAILURES_TOLD = 3
"""The number of failures that is reported where most requests fail, or so many have failed in a row."""


@dataclass(frozen=True, slots=True)
class Known:
    """Facts that are read once for all models."""

    flights: Mapping[str, Rollout]
    placements: Mapping[str, Placement]
    totals: Mapping[str, Totals]
    traffic: Mapping[str, Mapping[str, Traffic]] | None
    """By model and release. None: unknown."""
    watches: Mapping[str, Watching | None]
    found: Found
    lately: Collection[str]
    """Processes that were started recently."""


def known(world: World, lately: Collection[str], model: str | None = None) -> Known:
    """Reads the facts of all models, or of one."""
    traffic: Mapping[str, Mapping[str, Traffic]] | None
    try:
        if model is None:
            traffic = world.log.traffic_of_all(TRAFFIC_SECONDS)
        else:
            traffic = {model: world.log.traffic(model, TRAFFIC_SECONDS)}
    except SerinusError:
        traffic = None
    return Known(
        flights={rollout.model: rollout for rollout in world.store.in_flight(model)},
        placements=placements_of(world),
        totals=_totals(world),
        traffic=traffic,
        watches=all_stored(world) if model is None else {model: stored(world, model)},
        found=found_of(world.store),
        lately=lately,
    )


def shown_states(world: World, found: Known, model: str | None = None) -> Sequence[ModelState]:
    """Returns the states of all models to be shown, or of one."""
    states = {s.model: s for s in world.store.models(None if model is None else [model])}
    for flying in found.flights:
        states.setdefault(flying, ModelState(flying))
    return [s for s in states.values() if s.champion or s.model in found.flights or s.aborted or s.retired or s.notes]


def silent_models(world: World) -> Sequence[SilentModel]:
    """Returns the models whose champion does not answer. It reads less than `shown_model`."""
    placements = placements_of(world)
    champions = {state.model: state.champion for state in world.store.models() if state.champion}
    silent = []
    for model, champion in champions.items():
        placed = placements.get(champion.id)
        if placed is None or not placed.answers:
            reason = placed.reason if placed else ""
            silent.append(SilentModel(model=model, placement=_placement(placed), remarks=reason))
    return silent


def shown_model(world: World, state: ModelState, trouble: Sequence[str], seen: Known) -> Model:
    """Returns a model for people. `trouble` are the problems that the engine reports."""
    rollout, champion = seen.flights.get(state.model), state.champion
    placed = seen.placements.get(champion.id) if champion else None
    broken = champion is not None and (placed is None or not placed.answers)
    starting = broken and is_starting(placed, seen.lately)
    trouble = without_starting(trouble, seen.lately, champion=starting)
    traffic = _traffic(world, state, rollout, seen.traffic)
    failing = [note for t in traffic if (note := _failing(t))]
    if not failing and champion is not None:
        failing = _not_answering(seen.totals.get(champion.id), state, placed)
    wrong = seen.found.notes(state, rollout, seen.placements)
    watch = watch_of(seen.watches.get(state.model), champion.id, world.clock.now()) if champion else None
    worse = [f"has degraded since its promotion: {one}" for one in watch.degraded] if watch else []
    notes = [*trouble, *failing, *wrong, *worse, *state.notes, *_removed(state, rollout)]
    if starting:
        notes.append("the champion is starting")
    elif broken:
        notes.append(f"the champion is {_placement(placed)}" + _because(placed))
    if champion is not None and champion.settings.one_at_a_time:
        notes.append("served one row at a time, without a cache, because it answers differently in a batch")
    previous = state.previous
    return Model(
        model=state.model,
        champion=_live(state, placed),
        rechecked=seen.found.of(champion),
        previous=FormerChampion(release=previous.id, version=previous.version) if previous else None,
        rollout=summary(rollout, progress(world, rollout)) if rollout else None,
        traffic=traffic,
        aborted=state.aborted,
        watch=watch,
        outcomes=outcome_figures(world, state),
        notes=notes,
        state=_state(state, rollout, bool(trouble or failing or wrong or worse) or (broken and not starting), starting),
    )


def _totals(world: World) -> Mapping[str, Totals]:
    try:
        return world.log.totals()
    except SerinusError:
        return {}


def _traffic(
    world: World, state: ModelState, rollout: Rollout | None, of_all: Mapping[str, Mapping[str, Traffic]] | None
) -> Sequence[Traffic]:
    """Returns the traffic of the champion, and of the candidate since its canary began.

    Releases that were stopped, and former attempts of the candidate, are left out.
    """
    if of_all is None:
        return []
    recent = of_all.get(state.model, {})
    try:
        live = recent.get(state.champion.id) if state.champion else None
        candidate = _candidate(world, state, rollout, recent) if rollout else None
    except SerinusError:
        return []
    return [one for one in (live, candidate) if one is not None]


def _candidate(world: World, state: ModelState, rollout: Rollout, recent: Mapping[str, Traffic]) -> Traffic | None:
    """Returns the candidate's traffic.

    While its canary is younger than the window, the counts of its steps are used, which are this rollout's alone. The
    same release may have been tried before.
    """
    release = rollout.candidate
    if release is None or not rollout.steps or (state.champion and state.champion.id == release.id):
        return None
    seconds = (world.clock.now() - rollout.steps[0].started_at).total_seconds()
    found = recent.get(release.id)
    if found is None or seconds >= found.seconds:
        return found
    arms = [(world.log.counts(step.split) or {}).get(release.id) for step in rollout.steps]
    counted = [arm for arm in arms if arm is not None]
    requests, errors = sum(arm.requests for arm in counted), sum(arm.errors for arm in counted)
    return Traffic(release.id, requests, seconds, errors, None, None)


def _live(state: ModelState, placed: Placement | None) -> Champion | None:
    if state.champion is None:
        return None
    return Champion(
        release=state.champion.id,
        version=state.champion.version,
        since=state.since,
        threshold=state.champion_threshold,
        placement=_placement(placed),
        **running(placed),
    )


def _placement(placed: Placement | None) -> str:
    return placed.state.value if placed else "not placed"


def _failing(traffic: Traffic) -> str:
    """Returns a sentence where more requests fail than by chance, or most of a few. Empty otherwise."""
    noise = traffic.errors < FAILURES_TOLD or traffic.errors < SHARE_TOLD * traffic.requests
    most = traffic.errors >= FEW_FAILURES_TOLD and 2 * traffic.errors > traffic.requests
    if noise and not most:
        return ""
    share = f"{traffic.errors:,} of {traffic.requests:,} requests ({traffic.errors / traffic.requests:.1%})"
    return f"{share} to {traffic.release} failed or got the fallback, in the last {traffic.seconds / 60:.0f} minutes"


def _not_answering(totals: Totals | None, state: ModelState, placed: Placement | None) -> list[str]:
    """Returns a sentence about a champion that only fails since it became champion and its worker started."""
    active_since = placed.active_since if placed else None
    streak = totals.streak if totals else Streak()
    began = max((since for since in (state.since, active_since) if since), default=None)
    if totals is None or streak.failed_at is None or (began is not None and streak.failed_at < began):
        return []
    if active_since is not None and (streak.answered_at is None or streak.answered_at < active_since):
        return [f"{totals.release} has answered no request since its worker started; all requests to it failed"]
    if streak.failing >= FEW_FAILURES_TOLD:
        return [f"the last {streak.failing:,} requests to {totals.release} failed or got the fallback"]
    return []


def _because(placed: Placement | None) -> str:
    return f": {placed.reason}" if placed is not None and placed.reason else ""


def _removed(state: ModelState, rollout: Rollout | None) -> Sequence[str]:
    """Returns sentences about what a person or the registry has removed."""
    retired = state.retired
    if retired is not None:
        what = f"it was retired on {retired.since:%Y-%m-%d} by {retired.who}: {retired.why}"
        return () if rollout else (f"{what}. `serinus deploy {state.model}@VERSION` brings it back.",)
    return [
        lost_text(state.model, version, registered=True, live=alias == CHAMPION)
        for alias, version in state.lost.items()
    ]


def _state(state: ModelState, rollout: Rollout | None, trouble: bool, starting: bool) -> State:
    if trouble:
        return "trouble"
    if starting:
        return "starting"
    if rollout is not None:
        return "rolling-out"
    if state.retired is not None:
        return "retired"
    return "serving" if state.champion is not None else "idle"
