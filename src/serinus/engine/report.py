"""What people read: the fleet at a glance, and one release explained. Only reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from serinus.core.errors import NotFound, SerinusError
from serinus.core.rollout import ModelState, Rollout
from serinus.core.values import WHOLE, Placement, Release, Traffic
from serinus.engine.desk import FREE_BYTES_NEEDED
from serinus.engine.world import World

TRAFFIC_SECONDS = 300.0
FAILURES_TOLD, SHARE_TOLD = 10, 0.01

_rollout = TypeAdapter(Rollout)
_release = TypeAdapter(Release)


class Report:
    """`trouble`: the engine's, by model. `processes`: the supervisor's records."""

    def __init__(
        self,
        world: World,
        trouble: Callable[[], Mapping[str, Sequence[str]]],
        processes: Callable[[], Sequence[Mapping[str, Any]]],
        addresses: Mapping[str, str],
        warnings: Callable[[], Sequence[str]],
    ) -> None:
        self._world = world
        self._trouble = trouble
        self._processes = processes
        self._addresses = addresses
        self._warnings = warnings

    def status(self) -> Mapping[str, Any]:
        """The whole fleet; every value is JSON."""
        trouble = dict(self._trouble())
        flights = {r.model: r for r in self._world.store.in_flight()}
        placements = self._placements()
        states = {s.model: s for s in self._world.store.models()}
        for model in flights:
            states.setdefault(model, ModelState(model))
        shown = [s for s in states.values() if s.champion or s.model in flights or s.aborted]
        return {
            "models": [self._model(s, flights.get(s.model), placements, trouble.pop(s.model, ())) for s in shown],
            "totals": self._totals(),
            "processes": list(self._processes()),
            "warnings": [
                *self._warnings(),
                *self._disk(),
                *self._world.log.warnings(),
                *(line for lines in trouble.values() for line in lines),
            ],
            "addresses": dict(self._addresses),
            "now": self._world.clock.now().isoformat(),
        }

    def _model(
        self,
        state: ModelState,
        rollout: Rollout | None,
        placements: Mapping[str, Placement],
        trouble: Sequence[str],
    ) -> Mapping[str, Any]:
        placed = placements.get(state.champion.id) if state.champion else None
        broken = state.champion is not None and (placed is None or not placed.answers)
        traffic = self._traffic(state.model)
        # Of a release that was stopped the failures are over: it gets no requests any more.
        asked = {r.id for r in (state.champion, rollout and rollout.candidate) if r}
        failing = [note for t in traffic if t.release in asked and (note := _failing(t))]
        notes = [*trouble, *failing, *state.notes]
        if broken:
            notes.append(f"the champion is {placed.state.value if placed else 'not placed'}" + _because(placed))
        if state.champion is not None and state.champion.settings.one_at_a_time:
            notes.append("served one request at a time, uncached: it answers differently in a batch")
        return {
            "model": state.model,
            "champion": _live(state.champion, state, placed),
            "previous": {"release": state.previous.id, "version": state.previous.version} if state.previous else None,
            "rollout": summary(rollout) if rollout else None,
            "traffic": [_traffic(t) for t in traffic],
            "aborted": dict(state.aborted),
            "notes": notes,
            "state": _state(state, rollout, bool(trouble or failing) or broken),
        }

    def explain(self, wanted: str) -> Mapping[str, Any]:
        """A release or a rollout: what was asked, every gate, every step with its numbers, why it ended."""
        rollout = self._find(wanted)
        document: dict[str, Any] = _rollout.dump_python(rollout, mode="json")
        document["events"] = [
            {"at": e.at.isoformat(), "kind": e.kind, "text": e.text}
            for e in self._world.store.events(model=rollout.model, limit=2000)
            if e.rollout == rollout.id
        ]
        document["summary"] = summary(rollout)
        return document

    def _find(self, wanted: str) -> Rollout:
        try:
            return self._world.store.rollout(wanted)
        except NotFound:
            for rollout in self._world.store.rollouts(limit=10_000):
                if rollout.candidate is not None and rollout.candidate.id == wanted:
                    return rollout
            raise

    def releases(self, model: str | None) -> Sequence[Mapping[str, Any]]:
        """Newest first, each with what became of it."""
        placements = self._placements()
        rollouts = self._world.store.rollouts(model, limit=10_000)
        live = {s.champion.id for s in self._world.store.models() if s.champion}
        rows = []
        for release in self._world.store.releases(model):
            last = next((r for r in rollouts if r.candidate is not None and r.candidate.id == release.id), None)
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

    def _traffic(self, model: str) -> Sequence[Traffic]:
        try:
            return list(self._world.log.traffic(model, TRAFFIC_SECONDS).values())
        except SerinusError:
            return []

    def _totals(self) -> Sequence[Mapping[str, Any]]:
        try:
            return [asdict(totals) for totals in self._world.log.totals().values()]
        except SerinusError:
            return []

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
        "asked_by": rollout.actor.name,
        "why": rollout.why,
        "step": status.step,
        "steps": [s.weight / WHOLE for s in rollout.plan.steps] if rollout.plan else [],
        "reason": status.reason,
        "cause": status.cause.value,
        "hold": status.hold,
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


def _failing(traffic: Traffic) -> str:
    """Said when more than noise fails; empty otherwise."""
    if traffic.errors < FAILURES_TOLD or traffic.errors < SHARE_TOLD * traffic.requests:
        return ""
    share = f"{traffic.errors:,} of {traffic.requests:,} requests ({traffic.errors / traffic.requests:.1%})"
    return f"{share} to {traffic.release} failed, or got the fallback, in the last {traffic.seconds / 60:.0f} minutes"


def _because(placed: Placement | None) -> str:
    return f": {placed.reason}" if placed is not None and placed.reason else ""


def _state(state: ModelState, rollout: Rollout | None, trouble: bool) -> str:
    if trouble:
        return "trouble"
    if rollout is not None:
        return "rolling-out"
    return "serving" if state.champion is not None else "idle"
