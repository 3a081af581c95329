"""The phase `gates`: sends requests to the placed release, through the router and without it, and has the gates judge
the answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median

from serinus import gates
from serinus import spec as specs
from serinus.core.errors import InvalidInput, SerinusError, Unbuildable
from serinus.core.examination import GateResult, Rehearsal
from serinus.core.names import spec_file
from serinus.core.placement import Placement
from serinus.core.release import Artifact, Column, Release
from serinus.core.rollout import Kind, Rollout
from serinus.delivery import Examined
from serinus.engine.alerting import live_alerts
from serinus.engine.steps.asking import Subject, asked
from serinus.engine.steps.build import release_id
from serinus.engine.steps.finding import Found, evaluation_rows, given_rows, golden_rows
from serinus.engine.steps.kept import kept_rows
from serinus.engine.steps.metamorphic import metamorphic
from serinus.engine.steps.rows import Row, Table, table_in
from serinus.engine.world import World
from serinus.spec import ModelDeployment

HISTORY = 10_000
"""The largest number of rollouts of one release that are read."""

MEASURED_WITHIN = timedelta(seconds=90)
"""The age of a worker from which on its memory is no longer waited for."""
MEASURED_EVERY = 1.0
"""Seconds between two looks at whether it was measured."""
PROBED_ROWS = 50
GOLDEN_ROWS = 1_000
TIMED_REQUESTS = 200
BATCHES, TIMED_BATCHES = (8, 64), 9
"""The numbers of rows in a request, and of requests, by which it is measured whether batching would help."""


def examine(world: World, rollout: Rollout, placements: Mapping[str, Placement]) -> Examined:
    """Returns the results of all gates after the scan. Raises Unavailable."""
    subject = _subject(world, rollout, placements)
    golden = golden_rows(world, subject.ref, subject.spec)
    evaluation = evaluation_rows(world, subject.ref, subject.spec, subject.artifact)
    rehearsal = world.trials.rehearse(subject.release, given_rows(golden, evaluation))
    first = [gates.signature(_signature(subject)), gates.load(_load(subject, rehearsal))]
    evidence = asked(subject, rehearsal)
    if evidence.refused or any(check.error for check in evidence.checks):
        # A release that does not answer the first request would only delay the others.
        return _concluded(subject, [*first, gates.asked(evidence)], None, None)
    question = rehearsal.question
    example = table_in(question) if question is not None else None
    tables = (golden.table, evaluation.table, example)
    probe = next((table.head(PROBED_ROWS) for table in tables if table is not None and table.rows), None)
    candidate_scores = _scores(subject, subject.candidate, evaluation)
    champion_scores = _scores(subject, subject.champion, evaluation) if subject.champion is not None else None
    threshold = _threshold(subject, candidate_scores)
    results = [
        *first,
        gates.example(_example(subject, example if rehearsal.source == EXAMPLE else None)),
        gates.golden(_golden(subject, golden, probe, threshold)),
        gates.metamorphic(metamorphic(subject, probe)),
        gates.asked(evidence),
        gates.latency(_latency(subject, probe)),
        gates.memory(_memory(subject)),
        gates.quality(_quality(evaluation, candidate_scores, champion_scores, subject.spec, _live_alerts(subject))),
    ]
    champion_threshold = None if champion_scores is None else _threshold(subject, champion_scores)
    return _concluded(subject, results, threshold, champion_threshold)


EXAMPLE = "the input example"
"""The name that a rehearsal gives to the input example."""


def _concluded(
    subject: Subject, results: Sequence[GateResult], threshold: float | None, champion_threshold: float | None
) -> Examined:
    assert subject.rollout.plan is not None
    passed, reason = gates.decide(results, subject.rollout.plan.accepts)
    marked = any(result.evidence.get("one_at_a_time") for result in results)
    changed = passed and marked and not subject.release.settings.one_at_a_time
    instead = _one_at_a_time(subject) if changed else None
    return Examined(tuple(results), passed, reason, threshold, champion_threshold, instead)


def _one_at_a_time(subject: Subject) -> Release:
    settings = replace(subject.release.settings, one_at_a_time=True)
    release = subject.release
    digests = (release.artifact_digest, release.environment_digest)
    identity = release_id(release.model, release.version, *digests, settings, release.compiled)
    changed = replace(release, id=identity, settings=settings)
    subject.world.store.add_release(changed)
    return changed


def _subject(world: World, rollout: Rollout, placements: Mapping[str, Placement]) -> Subject:
    assert rollout.candidate is not None
    assert rollout.artifact is not None
    assert rollout.plan is not None
    live = world.store.model(rollout.model).champion if rollout.plan.champion else None
    return Subject(
        world=world,
        rollout=rollout,
        spec=specs.load(rollout.spec, source=spec_file(rollout.model), model=rollout.model),
        ref=world.registry.find(rollout.model, rollout.version),
        artifact=rollout.artifact,
        release=rollout.candidate,
        placement=placements[rollout.candidate.id],
        champion=(live, placements[live.id]) if live is not None and live.id in placements else None,
    )


# --- evidence, gate by gate -------------------------------------------------------------------------------


def _signature(subject: Subject) -> gates.SignatureEvidence:
    declared = subject.spec.caller.columns
    if declared:
        sent = tuple(Column(name, type_) for name, type_ in declared.items())
        return gates.SignatureEvidence(subject.artifact.inputs, sent, "the spec")
    champion = _champion_artifact(subject)
    return gates.SignatureEvidence(
        subject.artifact.inputs, champion.inputs if champion else None, "the champion's signature"
    )


def _champion_artifact(subject: Subject) -> Artifact | None:
    state = subject.world.store.model(subject.rollout.model)
    if state.champion is None:
        return None
    # A rollback has no gates.
    found = subject.world.store.rollouts(subject.rollout.model, limit=HISTORY, release=state.champion.id)
    return next((rollout.artifact for rollout in found if rollout.artifact), None)


def _load(subject: Subject, rehearsal: Rehearsal) -> gates.LoadEvidence:
    placement = subject.placement
    return gates.LoadEvidence(
        True,
        seconds=placement.load_seconds,
        notes=(placement.reason,) if placement.reason else (),
        warm_up_ms=placement.warm_up_ms,
        warnings=rehearsal.warnings,
        versions=rehearsal.versions,
    )


def _example(subject: Subject, example: Table | None) -> gates.ExampleEvidence:
    if example is None:
        return gates.ExampleEvidence(rows=None)
    try:
        scores = subject.score(subject.candidate, example)
    except SerinusError as error:
        return gates.ExampleEvidence(len(example.rows), error=str(error))
    return gates.ExampleEvidence(len(example.rows), scores, scored=subject.release.settings.scored)


def _golden(subject: Subject, golden: Found, probe: Table | None, threshold: float | None) -> gates.GoldenEvidence:
    """Compares with the recorded scores, or where there are none with the model's own `predict`. Kept rows are
    included."""
    if not subject.release.settings.scored:
        return gates.GoldenEvidence(None)
    if golden.error:
        return gates.GoldenEvidence(None, error=golden.error, unavailable=True)
    table = golden.table if golden.table is not None and golden.table.rows else probe
    if table is None or (table.scores is None and (subject.together or not table.tensors)):
        # The rows of the rehearsal are compared with the model's own `predict` already.
        return gates.GoldenEvidence(None)
    if not subject.together:
        scores = table.scores[:GOLDEN_ROWS] if table.scores else None
        table = replace(table, rows=table.rows[:GOLDEN_ROWS], scores=scores)
    try:
        reference = table.scores or _own_scores(subject, table)
    except (InvalidInput, Unbuildable) as error:
        return gates.GoldenEvidence(None, threshold=threshold, error=str(error), unavailable=True)
    recorded = bool(table.scores)
    kept, scores = _kept(subject, table.columns)
    table, reference = table.of([*table.rows, *kept]), [*reference, *scores]
    try:
        served = subject.score(subject.candidate, table)
    except SerinusError as error:
        return gates.GoldenEvidence(reference, threshold=threshold, error=str(error), recorded=recorded)
    return gates.GoldenEvidence(reference, served, threshold, recorded=recorded)


def _own_scores(subject: Subject, table: Table) -> Sequence[float | None]:
    """Returns the scores of the model's own `predict`. Raises Unbuildable."""
    release = subject.release
    digests = (release.environment_digest, release.artifact_digest)
    return subject.world.trials.reference(*digests, table.columns, table.rows, release.settings.score_output)


def _kept(subject: Subject, columns: tuple[str, ...]) -> tuple[Sequence[Row], Sequence[float | None]]:
    """Returns rows that a faster way once answered wrong for this model, and their scores.

    Empty where this version refuses one of them, or where the rows of a request belong together.
    """
    if subject.together:
        return (), ()
    rows = kept_rows(subject.world.store, subject.rollout.model, columns, answered=True)
    try:
        return rows, _own_scores(subject, Table(columns, rows)) if rows else ()
    except Unbuildable:
        return (), ()


def _latency(subject: Subject, probe: Table | None) -> gates.LatencyEvidence:
    """Measures requests of one row each, one after the other. Rows that belong together are sent in one request."""
    budget = subject.spec.gates.latency_p99.total_seconds() * 1000
    timeout = float(subject.release.settings.timeout_ms)
    if probe is None or not probe.rows:
        return gates.LatencyEvidence((), budget, timeout)
    seconds = subject.timed(probe, TIMED_REQUESTS)
    if subject.together or 1000 * median(seconds) < gates.SLOW_MS or len(seconds) < TIMED_REQUESTS:
        return gates.LatencyEvidence(seconds, budget, timeout)
    rows = probe.rows
    batches = {
        size: [subject.seconds(probe.of([rows[n % len(rows)] for n in range(size)])) for _ in range(TIMED_BATCHES)]
        for size in BATCHES
    }
    return gates.LatencyEvidence(seconds, budget, timeout, batches)


def _memory(subject: Subject) -> gates.MemoryEvidence:
    """Waits until the worker has been measured, which some targets do only every few seconds."""
    world = subject.world
    placed = world.target.observe().get(subject.release.id)
    while placed is not None and placed.memory_bytes is None and _is_young(placed, world.clock.now()):
        time.sleep(MEASURED_EVERY)
        placed = world.target.observe().get(subject.release.id)
    return gates.MemoryEvidence(placed.memory_bytes if placed else None, subject.spec.gates.memory)


def _is_young(placed: Placement, now: datetime) -> bool:
    return placed.active_since is not None and now - placed.active_since < MEASURED_WITHIN


def _scores(subject: Subject, whom: tuple[Release, Placement], found: Found) -> Sequence[float | None] | SerinusError:
    if found.table is None:
        return ()
    try:
        return subject.score(whom, found.table)
    except SerinusError as error:
        return error


def _threshold(subject: Subject, scores: Sequence[float | None] | SerinusError) -> float | None:
    """Returns the alert threshold: the spec's, or the one by which the evaluation rows use up the alert budget.

    Both releases get it by the same rule on the same rows, so that a changed budget is not taken for a changed alert
    rate.
    """
    if subject.spec.alerts.threshold is not None:
        return subject.spec.alerts.threshold
    if isinstance(scores, SerinusError) or not scores:
        return None
    try:
        return gates.alert_threshold(scores, subject.spec.alerts.budget)
    except InvalidInput:
        return None  # There is no finite score, which the quality gate reports.


def _live_alerts(subject: Subject) -> tuple[int, int] | None:
    """Returns live rows and alerts of the champion, where its threshold follows from the same budget as the
    candidate's."""
    if subject.champion is None:
        return None
    model, champion = subject.rollout.model, subject.champion[0].id
    found = subject.world.store.rollouts(model, limit=HISTORY, release=champion)
    promoted = next((rollout for rollout in found if rollout.kind is Kind.DEPLOY), None)
    if promoted is None:
        return None
    alerts = specs.load(promoted.spec, model=model).alerts
    if alerts.threshold is not None or alerts != subject.spec.alerts:
        return None
    rate = live_alerts(subject.world, subject.world.store.model(model))
    return None if rate is None else (rate.rows, rate.alerts)


def _quality(
    evaluation: Found,
    candidate: Sequence[float | None] | SerinusError,
    champion: Sequence[float | None] | SerinusError | None,
    spec: ModelDeployment,
    live: tuple[int, int] | None,
) -> gates.QualityEvidence:
    if specs.settings(spec).scored is False:
        return gates.QualityEvidence(None)
    if evaluation.table is None:
        return gates.QualityEvidence(None, error=evaluation.error)
    if isinstance(candidate, SerinusError):
        return gates.QualityEvidence(evaluation.table.labels, error=str(candidate))
    if isinstance(champion, SerinusError):
        return gates.QualityEvidence(evaluation.table.labels, error=str(champion))
    return gates.QualityEvidence(
        labels=evaluation.table.labels,
        candidate=candidate,
        champion=champion,
        clusters=evaluation.table.clusters,
        budget=spec.alerts.budget,
        margin=spec.gates.recall_margin,
        source=evaluation.source,
        live=live,
        ranked=spec.alerts.threshold is None,
    )
