"""What people read: the fleet at a glance, and one release explained. Only reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from serinus.core.errors import NotFound, SerinusError
from serinus.core.evidence import Streak, Totals, Traffic
from serinus.core.placement import Placement
from serinus.core.redaction import all_without_credentials
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Rollout
from serinus.core.routing import WHOLE
from serinus.delivery import CHAMPION, lost_text
from serinus.engine.alerting import live_alerts
from serinus.engine.distrust import Found, found_of
from serinus.engine.happenings import approver
from serinus.engine.queries.in_force import changes_by, spec_in_force
from serinus.engine.queries.outcomes import outcome_figures
from serinus.engine.queries.progress import progress
from serinus.engine.queries.starting import is_starting, started_lately, without_starting
from serinus.engine.reconcile.watching import all_stored, stored
from serinus.engine.reconcile.watching import shown as watch_of
from serinus.engine.world import FREE_BYTES_NEEDED, World
from serinus.judge import Watching

TRAFFIC_SECONDS = 300.0
FAILURES_TOLD, SHARE_TOLD = 10, 0.01
FEW_FAILURES_TOLD = 3
MODELS_NAMED = 20
"""Of a release that fails most of what it is asked, or has failed so many without an answer between them."""

_rollout = TypeAdapter(Rollout)
_release = TypeAdapter(Release)
_totals = TypeAdapter(Totals)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is read once for all models that are shown."""

    flights: Mapping[str, Rollout]
    placements: Mapping[str, Placement]
    totals: Mapping[str, Totals]
    traffic: Mapping[str, Mapping[str, Traffic]] | None
    """By model and release; None: not known."""
    watches: Mapping[str, Watching | None]
    found: Found
    lately: Collection[str]
    """Processes that were started lately."""


class Report:
    """`trouble`: the engine's, by model. `processes`: the supervisor's records. `confinement`: of models, in words.
    `installation`: field of a spec -> what the settings of this installation say to it."""

    def __init__(
        self,
        world: World,
        trouble: Callable[[], Mapping[str, Sequence[str]]],
        processes: Callable[[], Sequence[Mapping[str, Any]]],
        addresses: Mapping[str, str],
        warnings: Callable[[], Sequence[str]],
        registry_answers: Callable[[], bool] = lambda: True,
        confinement: str = "",
        installation: Mapping[str, str] | None = None,
    ) -> None:
        self._world = world
        self._trouble = trouble
        self._processes = processes
        self._addresses = addresses
        self._warnings = warnings
        self._registry_answers = registry_answers
        self._confinement = confinement
        self._installation = installation or {}

    def status(self) -> Mapping[str, Any]:
        """The whole fleet; every value is JSON."""
        trouble, processes, now = dict(self._trouble()), list(self._processes()), self._world.clock.now()
        lately = started_lately(processes, now)
        if "mlflow" in lately:
            trouble.pop("registry", None)
        known = self._known(lately)
        return {
            "models": [self._model(state, trouble.pop(state.model, ()), known) for state in self._shown(known)],
            "totals": [_counters(one) for one in known.totals.values()],
            "rechecked": known.found.table(),
            "distrusted": [{"model": entry.model, "release": entry.release} for entry in known.found.marks.values()],
            "processes": processes,
            "warnings": [
                *self._warnings(),
                *self._disk(),
                *self._world.log.warnings(),
                *(line for lines in trouble.values() for line in lines),
            ],
            "confinement": self._confinement,
            "addresses": dict(self._addresses),
            "now": now.isoformat(),
        }

    def model(self, model: str) -> Mapping[str, Any]:
        """One of the models of `status`. Raises NotFound."""
        lately = started_lately(list(self._processes()), self._world.clock.now())
        known = self._known(lately, model)
        for state in self._shown(known, model):
            return self._model(state, self._trouble().get(model, ()), known)
        every = self._world.store.models()
        there = ", ".join(one.model for one in every[:MODELS_NAMED]) + (", ..." if len(every) > MODELS_NAMED else "")
        hint = f"There are: {there or 'none yet'}. `serinus deploy {model}@1` begins."
        raise NotFound(f"no model {model} is deployed", hint=hint)

    def _known(self, lately: Collection[str], model: str | None = None) -> _Known:
        """Of all models, or of one, each read at once."""
        world = self._world
        traffic: Mapping[str, Mapping[str, Traffic]] | None
        try:
            if model is None:
                traffic = world.log.traffic_of_all(TRAFFIC_SECONDS)
            else:
                traffic = {model: world.log.traffic(model, TRAFFIC_SECONDS)}
        except SerinusError:
            traffic = None
        return _Known(
            flights={rollout.model: rollout for rollout in world.store.in_flight(model)},
            placements=self._placements(),
            totals=self._totals(),
            traffic=traffic,
            watches=all_stored(world) if model is None else {model: stored(world, model)},
            found=found_of(world.store),
            lately=lately,
        )

    def _shown(self, known: _Known, model: str | None = None) -> Sequence[ModelState]:
        states = {s.model: s for s in self._world.store.models(None if model is None else [model])}
        for flying in known.flights:
            states.setdefault(flying, ModelState(flying))
        return [s for s in states.values() if s.champion or s.model in known.flights or s.aborted or s.retired]

    def _model(self, state: ModelState, trouble: Sequence[str], known: _Known) -> Mapping[str, Any]:
        rollout, placements, found = known.flights.get(state.model), known.placements, known.found
        placed = placements.get(state.champion.id) if state.champion else None
        broken = state.champion is not None and (placed is None or not placed.answers)
        starting = broken and is_starting(placed, known.lately)
        trouble = without_starting(trouble, known.lately, champion=starting)
        traffic = self._traffic(state, rollout, known.traffic)
        failing = [note for t in traffic if (note := _failing(t))]
        if not failing and state.champion is not None:
            failing = _not_answering(known.totals.get(state.champion.id), state, placed)
        wrong = found.notes(state, rollout, placements)
        now, watching = self._world.clock.now(), known.watches.get(state.model)
        watch = watch_of(watching, state.champion.id, now) if state.champion else None
        worse = [f"has degraded since its promotion: {one}" for one in watch["degraded"]] if watch else []
        notes = [*trouble, *failing, *wrong, *worse, *state.notes, *_removed(state, rollout)]
        if starting:
            notes.append("the champion is starting")
        elif broken:
            notes.append(f"the champion is {placed.state.value if placed else 'not placed'}" + _because(placed))
        if state.champion is not None and state.champion.settings.one_at_a_time:
            notes.append("served one row at a time, without a cache, because it answers differently in a batch")
        return {
            "model": state.model,
            "champion": _live(state.champion, state, placed),
            "rechecked": found.of(state.champion),
            "previous": {"release": state.previous.id, "version": state.previous.version} if state.previous else None,
            "rollout": {**summary(rollout), "progress": progress(self._world, rollout)} if rollout else None,
            "traffic": [_traffic(t) for t in traffic],
            "aborted": dict(state.aborted),
            "watch": watch,
            "outcomes": outcome_figures(self._world, state),
            "notes": notes,
            "state": _state(
                state, rollout, bool(trouble or failing or wrong or worse) or (broken and not starting), starting
            ),
        }

    def registry_answers(self) -> bool:
        """Whether the engine could read the registry when it last tried."""
        return self._registry_answers()

    def alerts(self, model: str) -> Mapping[str, Any] | None:
        """Of the champion's live requests: how many there were, and the share that alerts, with its interval."""
        rate = live_alerts(self._world, self._world.store.model(model))
        return None if rate is None else rate.as_json()

    def rollout(self, rollout: Rollout) -> dict[str, Any]:
        """All that is stored of it, and how far it is."""
        document: dict[str, Any] = _rollout.dump_python(rollout, mode="json")
        return {**document, "progress": progress(self._world, rollout)}

    def explain(self, wanted: str) -> Mapping[str, Any]:
        """A rollout, by its id, its release or its model, whose newest it is then: what was asked, every gate, every
        step with its numbers, why it ended."""
        rollout = self._find(wanted)
        document = self.rollout(rollout)
        document["events"] = [
            {"at": e.at.isoformat(), "kind": e.kind, "text": e.text}
            for e in self._world.store.events(rollout=rollout.id, limit=2000)
        ]
        document["summary"] = summary(rollout)
        document["confinement"] = self._confinement
        if document.get("artifact"):  # of one that an earlier version has stored
            document["artifact"]["requirements"] = all_without_credentials(document["artifact"]["requirements"])
        found = found_of(self._world.store)
        document["rechecked"] = found.of(rollout.candidate)
        document["distrust"] = found.why(rollout.candidate)
        watching, now = stored(self._world, rollout.model), self._world.clock.now()
        watch = watch_of(watching, rollout.candidate.id, now) if rollout.candidate else None
        document["watch"] = watch if watch and watch["rollout"] == rollout.id else None
        return document

    def _find(self, wanted: str) -> Rollout:
        try:
            return self._world.store.rollout(wanted)
        except NotFound:
            for found in self._world.store.rollouts(limit=1, release=wanted):
                return found
            for newest in self._world.store.rollouts(wanted, limit=1):
                return newest
            raise

    def spec(self, model: str) -> Mapping[str, Any]:
        """The spec that is in force, and where each value comes from."""
        return spec_in_force(self._world, model, self._installation)

    def changes_by(self, spec: str, *, model: str | None, source: str) -> Mapping[str, Any]:
        """What a deployment of `spec` would change."""
        return changes_by(self._world, spec, model=model, source=source)

    def releases(
        self, model: str | None, limit: int | None = None, after: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Newest first, each with what became of it. `after`: the last one of the page before."""
        placements = self._placements()
        live = {s.champion.id for s in self._world.store.models() if s.champion}
        rows = []
        for release in self._world.store.releases(model, limit, after=after):
            last = next(iter(self._world.store.rollouts(limit=1, release=release.id)), None)
            placed = placements.get(release.id)
            rows.append(
                {
                    **_release.dump_python(release, mode="json"),
                    "champion": release.id in live,
                    "rollout": last.id if last else None,
                    "phase": last.status.phase.value if last else None,
                    "reason": last.status.reason if last else "",
                    "placement": placed.state.value if placed else "not running",
                    "runs": _runs(placed),
                    **_process(placed),
                }
            )
        return rows

    def _placements(self) -> Mapping[str, Placement]:
        try:
            return self._world.target.observe()
        except SerinusError:
            return {}

    def _traffic(
        self, state: ModelState, rollout: Rollout | None, of_all: Mapping[str, Mapping[str, Traffic]] | None
    ) -> Sequence[Traffic]:
        """Of the champion, and of the candidate since its canary began. A release that was stopped, or the candidate's
        former attempt, is not among them."""
        if of_all is None:
            return []
        recent = of_all.get(state.model, {})
        try:
            live = recent.get(state.champion.id) if state.champion else None
            candidate = self._candidate(state, rollout, recent) if rollout else None
        except SerinusError:
            return []
        return [one for one in (live, candidate) if one is not None]

    def _candidate(self, state: ModelState, rollout: Rollout, recent: Mapping[str, Traffic]) -> Traffic | None:
        """While its canary is younger than the window, by the counts of its steps, which are this rollout's alone: the
        same release may have been tried before."""
        release = rollout.candidate
        if release is None or not rollout.steps or (state.champion and state.champion.id == release.id):
            return None
        seconds = (self._world.clock.now() - rollout.steps[0].started_at).total_seconds()
        known = recent.get(release.id)
        if known is None or seconds >= known.seconds:
            return known
        arms = [(self._world.log.counts(step.split) or {}).get(release.id) for step in rollout.steps]
        counted = [arm for arm in arms if arm is not None]
        requests, errors = sum(arm.requests for arm in counted), sum(arm.errors for arm in counted)
        return Traffic(release.id, requests, seconds, errors, None, None)

    def _totals(self) -> Mapping[str, Totals]:
        try:
            return self._world.log.totals()
        except SerinusError:
            return {}

    def _disk(self) -> Sequence[str]:
        free = shutil.disk_usage(self._world.disk).free
        if free >= FREE_BYTES_NEEDED:
            return ()
        return (
            f"the disk is nearly full ({free // 1_000_000} MB free): no new deployments are taken; serving goes on",
        )


def summary(rollout: Rollout) -> Mapping[str, Any]:
    """A rollout in a few words and numbers."""
    status = rollout.status
    last = rollout.steps[-1] if rollout.steps else None
    assessment = last.assessment if last else None
    return {
        "id": rollout.id,
        "model": rollout.model,
        "kind": rollout.kind.value,
        "version": rollout.version,
        "release": rollout.candidate.id if rollout.candidate else None,
        "phase": status.phase.value,
        "since": status.since.isoformat(),
        "created_at": rollout.created_at.isoformat(),
        "asked_by": rollout.actor.shown,
        "approved_by": approver(rollout),
        "why": rollout.why,
        "step": status.step,
        "steps": [s.weight / WHOLE for s in rollout.plan.steps] if rollout.plan else [],
        "reason": status.reason,
        "cause": status.cause.value,
        "hold": status.hold,
        "suspended": status.suspended,
        "needs": assessment.needs if assessment else "",
        "metrics": [dict(m) for m in assessment.metrics] if assessment else [],
        "gates": [{"gate": g.gate, "outcome": g.outcome.value, "summary": g.summary} for g in rollout.gates],
        "notes": list(rollout.notes),
    }


def _live(release: Release | None, state: ModelState, placed: Placement | None) -> Mapping[str, Any] | None:
    if release is None:
        return None
    return {
        "release": release.id,
        "version": release.version,
        "since": state.since.isoformat() if state.since else None,
        "threshold": state.champion_threshold,
        "placement": placed.state.value if placed else "not placed",
        **_process(placed),
    }


def _process(placed: Placement | None) -> Mapping[str, Any]:
    """How it runs."""
    return {
        "memory_bytes": placed.memory_bytes if placed else None,
        "restarts": placed.restarts if placed else 0,
        "workers": placed.workers if placed else 0,
        "way": placed.way if placed else "",
        "remarks": placed.reason if placed else "",
    }


def _runs(placed: Placement | None) -> str:
    """`ready`, or with more than one worker `ready × 3`."""
    if placed is None:
        return "not running"
    return f"{placed.state.value} × {placed.workers}" if placed.workers > 1 else placed.state.value


def _traffic(traffic: Traffic) -> Mapping[str, Any]:
    return {
        "release": traffic.release,
        "requests": traffic.requests,
        "seconds": traffic.seconds,
        "errors": traffic.errors,
        "p50_ms": traffic.p50_ms,
        "p99_ms": traffic.p99_ms,
    }


def _counters(totals: Totals) -> Mapping[str, Any]:
    document: Mapping[str, Any] = _totals.dump_python(totals, mode="json")
    return document


def _failing(traffic: Traffic) -> str:
    """Said when more than noise fails, or most of a few; empty otherwise."""
    noise = traffic.errors < FAILURES_TOLD or traffic.errors < SHARE_TOLD * traffic.requests
    most = traffic.errors >= FEW_FAILURES_TOLD and 2 * traffic.errors > traffic.requests
    if noise and not most:
        return ""
    share = f"{traffic.errors:,} of {traffic.requests:,} requests ({traffic.errors / traffic.requests:.1%})"
    return f"{share} to {traffic.release} failed or got the fallback, in the last {traffic.seconds / 60:.0f} minutes"


def _not_answering(totals: Totals | None, state: ModelState, placed: Placement | None) -> list[str]:
    """Of a champion that has failed since it became champion and its worker came up, whatever it answered before."""
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
    """What a person or the registry took away."""
    retired = state.retired
    if retired is not None:
        what = f"it was retired on {retired.since:%Y-%m-%d} by {retired.who}: {retired.why}"
        return () if rollout else (f"{what}. `serinus deploy {state.model}@VERSION` brings it back.",)
    return [
        lost_text(state.model, version, registered=True, live=alias == CHAMPION)
        for alias, version in state.lost.items()
    ]


def _state(state: ModelState, rollout: Rollout | None, trouble: bool, starting: bool) -> str:
    if trouble:
        return "trouble"
    if starting:
        return "starting"
    if rollout is not None:
        return "rolling-out"
    if state.retired is not None:
        return "retired"
    return "serving" if state.champion is not None else "idle"
