"""GATES: asks the placed release, past the router, and lets the gates judge what it answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from serinus import gates
from serinus import spec as specs
from serinus.core.errors import InvalidInput, SerinusError, Unbuildable
from serinus.core.rollout import Rollout
from serinus.core.values import Artifact, Column, GateResult, Placement, Release, VersionRef
from serinus.delivery import Examined
from serinus.engine.build import release_id
from serinus.engine.finding import Found, evaluation_rows, golden_rows
from serinus.engine.kept import kept_rows
from serinus.engine.rows import Row, Table, integers_for_whole_floats, read_example
from serinus.engine.world import World
from serinus.gates import Transformation, TransformationCheck
from serinus.spec import ModelDeployment

PROBED_ROWS = 50
GOLDEN_ROWS = 1_000
TIMED_REQUESTS = 200
BATCHES, TIMED_BATCHES = (8, 64), 9
"""Rows in a request, and how many requests, from which it is seen whether batching would help."""
CELLS_A_REQUEST = 20_000
"""Keeps a request of many rows well below the body limit, whatever the number of columns."""
CELLS_A_REQUEST_OF_THE_CHAMPION = 2_000
"""It has callers, who wait behind such a request: a few milliseconds each, instead of a quarter of a second."""
SECONDS_A_REQUEST = 60.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being examined, and all that is needed for it."""

    world: World
    rollout: Rollout
    spec: ModelDeployment
    ref: VersionRef
    artifact: Artifact
    release: Release
    placement: Placement
    champion: Placement | None

    def score(self, placement: Placement, table: Table) -> Sequence[float | None]:
        """One score a row, asked in as many requests as it takes."""
        cells = CELLS_A_REQUEST if placement is self.placement else CELLS_A_REQUEST_OF_THE_CHAMPION
        size = max(1, cells // max(1, len(table.columns)))
        scores: list[float | None] = []
        for start in range(0, len(table.rows), size):
            rows = table.rows[start : start + size]
            answer = self.world.scorer.score(placement.endpoint, table.columns, rows, SECONDS_A_REQUEST)
            scores.extend(answer.scores)
        return scores


def examine(world: World, rollout: Rollout, placements: Mapping[str, Placement]) -> Examined:
    """Every gate after the scan. Raises Unavailable where the host or the registry does not answer."""
    subject = _subject(world, rollout, placements)
    golden = golden_rows(world, subject.ref, subject.spec)
    evaluation = evaluation_rows(world, subject.ref, subject.spec, subject.artifact)
    example = read_example(subject.artifact)
    probe = next((t.head(PROBED_ROWS) for t in (golden.table, evaluation.table, example) if t is not None), None)
    candidate_scores = _scores(subject, subject.placement, evaluation)
    champion_scores = _scores(subject, subject.champion, evaluation) if subject.champion is not None else None
    threshold = _threshold(subject, candidate_scores)
    results = [
        gates.signature(_signature(subject)),
        gates.load(gates.LoadEvidence(True, seconds=subject.placement.load_seconds)),
        gates.example(_example(subject, example)),
        gates.golden(_golden(subject, golden, probe, threshold)),
        gates.metamorphic(_metamorphic(subject, probe)),
        gates.latency(_latency(subject, probe)),
        gates.memory(_memory(subject)),
        gates.quality(_quality(evaluation, candidate_scores, champion_scores, subject.spec)),
    ]
    champion_threshold = None if champion_scores is None else _threshold(subject, champion_scores)
    return _together(subject, results, threshold, champion_threshold)


def _together(
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
    return Subject(
        world=world,
        rollout=rollout,
        spec=specs.load(rollout.spec, source=f"models/{rollout.model}.yaml", model=rollout.model),
        ref=world.registry.find(rollout.model, rollout.version),
        artifact=rollout.artifact,
        release=rollout.candidate,
        placement=placements[rollout.candidate.id],
        champion=placements.get(rollout.plan.champion or ""),
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
    for rollout in subject.world.store.rollouts(subject.rollout.model, limit=1000):
        if state.champion and rollout.candidate and rollout.candidate.id == state.champion.id and rollout.artifact:
            return rollout.artifact
    return None


def _example(subject: Subject, example: Table | None) -> gates.ExampleEvidence:
    if example is None:
        return gates.ExampleEvidence(rows=None)
    try:
        scores = subject.score(subject.placement, example)
    except SerinusError as error:
        return gates.ExampleEvidence(len(example.rows), error=str(error))
    return gates.ExampleEvidence(len(example.rows), scores, scored=subject.release.settings.scored)


def _golden(subject: Subject, golden: Found, probe: Table | None, threshold: float | None) -> gates.GoldenEvidence:
    """Against the recorded scores; without any, against the model's own `predict` on the same rows. Kept
    rows are asked as well."""
    if not subject.release.settings.scored:
        return gates.GoldenEvidence(None)
    if golden.error:
        return gates.GoldenEvidence(None, error=golden.error, unavailable=True)
    table = golden.table or probe
    if table is None:
        return gates.GoldenEvidence(None)
    table = replace(table, rows=table.rows[:GOLDEN_ROWS], scores=table.scores[:GOLDEN_ROWS] if table.scores else None)
    try:
        reference = table.scores or _own_scores(subject, table)
    except (InvalidInput, Unbuildable) as error:
        return gates.GoldenEvidence(None, threshold=threshold, error=str(error), unavailable=True)
    kept, scores = _kept(subject, table.columns)
    table, reference = Table(table.columns, [*table.rows, *kept]), [*reference, *scores]
    try:
        served = subject.score(subject.placement, table)
    except SerinusError as error:
        return gates.GoldenEvidence(reference, threshold=threshold, error=str(error))
    return gates.GoldenEvidence(reference, served, threshold)


def _own_scores(subject: Subject, table: Table) -> Sequence[float | None]:
    """By the model's own predict. Raises Unbuildable."""
    release = subject.release
    return subject.world.trials.reference(
        release.python, subject.artifact.path, table.columns, table.rows, release.settings.score_output
    )


def _kept(subject: Subject, columns: tuple[str, ...]) -> tuple[Sequence[Row], Sequence[float | None]]:
    """The rows that a shorter way has once answered wrong for this model, and their scores; none where this version
    refuses one of them, as it may."""
    rows = kept_rows(subject.world.disk, subject.rollout.model, columns, answered=True)
    try:
        return rows, _own_scores(subject, Table(columns, rows)) if rows else ()
    except Unbuildable:
        return (), ()


def _metamorphic(subject: Subject, probe: Table | None) -> gates.MetamorphicEvidence:
    accepted = subject.rollout.plan is not None and "one-at-a-time" in subject.rollout.plan.accepts
    one_at_a_time = subject.release.settings.one_at_a_time
    if probe is None or not probe.rows:
        return gates.MetamorphicEvidence((), accepted, one_at_a_time)
    ask = _Asker(subject, probe.columns)
    try:
        alone = ask.alone(probe.rows)
    except SerinusError as error:
        failed = TransformationCheck(Transformation.ALONE, len(probe.rows), error=str(error))
        return gates.MetamorphicEvidence((failed,), accepted, one_at_a_time)
    backwards = list(reversed(range(len(probe.rows))))
    checks = [
        ask.check(Transformation.TWICE, alone, lambda: ask.alone(probe.rows)),
        ask.check(Transformation.BATCH, alone, lambda: ask.together(probe.rows)),
        ask.check(
            Transformation.ORDER,
            [alone[i] for i in backwards],
            lambda: ask.together([probe.rows[i] for i in backwards]),
        ),
    ]
    whole = [(i, row) for i, row in enumerate(probe.rows) if integers_for_whole_floats([row])]
    if whole:
        rows = integers_for_whole_floats([row for _, row in whole])
        checks.append(ask.check(Transformation.INTEGERS, [alone[i] for i, _ in whole], lambda: ask.alone(rows)))
    return gates.MetamorphicEvidence(tuple(checks), accepted, one_at_a_time)


@dataclass(frozen=True, slots=True)
class _Asker:
    subject: Subject
    columns: tuple[str, ...]

    def together(self, rows: Sequence[Sequence[object]]) -> Sequence[float | None]:
        return self.subject.score(self.subject.placement, Table(self.columns, rows))

    def alone(self, rows: Sequence[Sequence[object]]) -> Sequence[float | None]:
        return [self.together([row])[0] for row in rows]

    def check(
        self,
        transformation: Transformation,
        expected: Sequence[float | None],
        ask: Callable[[], Sequence[float | None]],
    ) -> TransformationCheck:
        try:
            return gates.compare(transformation, expected, ask())
        except SerinusError as error:
            return TransformationCheck(transformation, len(expected), error=str(error))


def _latency(subject: Subject, probe: Table | None) -> gates.LatencyEvidence:
    """Seconds as the caller of one row sees them, one request after the other."""
    budget = subject.spec.gates.latency_p99.total_seconds() * 1000
    timeout = float(subject.release.settings.timeout_ms)
    if probe is None or not probe.rows:
        return gates.LatencyEvidence((), budget, timeout)
    rows = probe.rows
    seconds = [_seconds(subject, probe, [rows[n % len(rows)]]) for n in range(TIMED_REQUESTS)]
    if 1000 * median(seconds) < gates.SLOW_MS:
        return gates.LatencyEvidence(seconds, budget, timeout)
    batches = {
        size: [_seconds(subject, probe, [rows[n % len(rows)] for n in range(size)]) for _ in range(TIMED_BATCHES)]
        for size in BATCHES
    }
    return gates.LatencyEvidence(seconds, budget, timeout, batches)


def _seconds(subject: Subject, probe: Table, rows: Sequence[Sequence[object]]) -> float:
    try:
        return subject.world.scorer.score(subject.placement.endpoint, probe.columns, rows, SECONDS_A_REQUEST).seconds
    except SerinusError:
        return SECONDS_A_REQUEST  # no answer is no fast answer; the other gates tell of the error


def _memory(subject: Subject) -> gates.MemoryEvidence:
    placed = subject.world.target.observe().get(subject.release.id)
    return gates.MemoryEvidence(placed.memory_bytes if placed else None, subject.spec.gates.memory)


def _scores(subject: Subject, placement: Placement | None, found: Found) -> Sequence[float | None] | SerinusError:
    if found.table is None or placement is None:
        return ()
    try:
        return subject.score(placement, found.table)
    except SerinusError as error:
        return error


def _threshold(subject: Subject, scores: Sequence[float | None] | SerinusError) -> float | None:
    """Of alerts: the spec's, or the one at which the release spends the budget on the evaluation rows. The same rule on
    the same rows for both releases, so that a changed budget is no changed alert rate."""
    if subject.spec.alerts.threshold is not None:
        return subject.spec.alerts.threshold
    if isinstance(scores, SerinusError) or not scores:
        return None
    try:
        return gates.alert_threshold(scores, subject.spec.alerts.budget)
    except InvalidInput:
        return None  # not one finite score: the quality gate says so


def _quality(
    evaluation: Found,
    candidate: Sequence[float | None] | SerinusError,
    champion: Sequence[float | None] | SerinusError | None,
    spec: ModelDeployment,
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
        budget=spec.alerts.budget,
        margin=spec.gates.recall_margin,
        source=evaluation.source,
    )
