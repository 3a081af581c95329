"""Rollouts in words: news, progress and results. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from serinus.core.rollout import Assessment, Phase, Rollout, StepRecord, aborted_text
from serinus.core.routing import WHOLE

if TYPE_CHECKING:
    from serinus.cli.session import Session
    from serinus.core.examination import GateResult
    from serinus.resources import (
        AlertRate,
        Arm,
        Metric,
        MetricProgress,
        Progress,
        Rechecked,
        ShownRollout,
        WatchOfChampion,
    )

Document = Mapping[str, Any]
"""JSON values of the API."""

DOING = {
    "resolve": "resolve: reading the version's files",
    "build": "build: preparing the environment",
    "place": "place: starting a worker",
    "gates": "gates: checking the version before it gets traffic",
    "approval": "approval: waiting for a person other than the requester: `serinus approve {id}`",
    "promoting": "promoting: {reason}",
    "aborting": "aborting: {reason}",
    "scaling": "scaling: changes scale only: applied without a canary",
    "retiring": "retiring: callers get HTTP 410, then its workers stop",
}


WAYS = {"onnx": "ONNX graph", "matrix": "predict on a matrix", "direct": "direct predict", "mlflow": "MLflow predict"}


def served_by(way: str) -> str:
    """Returns in words how a release predicts."""
    return WAYS.get(way, way)


_ZERO = {"asleep", "scaled-to-zero"}
"""The stored states of a release without a worker. An earlier version stored the first one."""


def runs(text: str) -> str:
    """Returns a placement's state in words, with the number of workers where there are several, such as `ready × 3`."""
    return "scaled to zero" if text in _ZERO else text


def promoted(rollout: Rollout) -> bool:
    """Whether the rollout has promoted its candidate."""
    return rollout.status.phase is Phase.PROMOTED


def succeeded(rollout: Rollout) -> bool:
    """Whether the rollout has ended as requested."""
    return rollout.status.phase in (Phase.PROMOTED, Phase.RETIRED, Phase.SCALED)


def share(weight: int) -> str:
    """Returns the weight in percent."""
    return f"{100 * weight / WHOLE:g}%"


def news(before: Rollout | None, after: Rollout) -> Iterator[str]:
    """Yields a line for everything that has changed between two looks."""
    yield from (f"note: {note}" for note in after.notes[len(before.notes) if before else 0 :])
    yield from (gate_line(gate) for gate in after.gates if before is None or gate not in before.gates)
    yield from _step_news(before.steps if before else (), after)
    status, was = after.status, before.status if before else None
    moved = was is None or status.phase is not was.phase
    if moved and status.phase in DOING:
        yield DOING[status.phase].format(id=after.id, reason=status.reason)
    if status.hold and (was is None or status.hold != was.hold):
        yield f"held: {status.hold}"
    if moved and status.phase.ended:
        yield end_line(after)


def gate_line(gate: GateResult) -> str:
    """Returns the result of a gate as a line."""
    return f"gate {gate.gate}: {gate.outcome.value}: {gate.summary}"


def _step_news(known: Sequence[StepRecord], after: Rollout) -> Iterator[str]:
    for step in after.steps:
        was = next((k for k in known if k.index == step.index), None)
        name = f"canary {share(step.weight)}"
        if was is None and after.plan is not None:
            plan = after.plan.steps[step.index]
            yield f"{name}: at least {plan.minimum_requests:,} requests and {plan.minimum_seconds:g} s"
        closed = step.ended_at is not None and (was is None or was.ended_at is None)
        if closed and step.assessment:
            yield f"{name}: {step.assessment.verdict.value}: {step.assessment.reason}"


def end_line(rollout: Rollout) -> str:
    """Returns the result of a rollout as a line."""
    asked = f"{rollout.model}@{rollout.version}"
    if promoted(rollout):
        release = f" as {rollout.candidate.id}" if rollout.candidate else ""
        return f"promoted: {asked} is champion{release}"
    if rollout.status.phase is Phase.SCALED:
        return f"scaled: {asked} has its new scale"
    if succeeded(rollout):
        return f"retired: {rollout.model} is out of service, and its callers get HTTP 410"
    return aborted_text(rollout.status.cause, rollout.status.reason)


def metrics_of(assessment: Assessment | None) -> list[Metric]:
    """Returns the metrics of an assessment."""
    from serinus.cli.answers import read_all
    from serinus.resources import Metric

    return read_all(Metric, assessment.metrics) if assessment else []


def answered(rollout: Rollout) -> int:
    """Returns the number of requests that the canary has answered in its present step."""
    metrics = metrics_of(rollout.steps[-1].assessment) if rollout.steps else []
    return max((metric.canary.of for metric in metrics if metric.canary), default=0)


def progress_line(rollout: ShownRollout, now: datetime) -> str:
    """Returns a line such as `canary 5%: 1,200 of at least 2,000 requests, 22 of at least 30 s; about 4 minutes
    ...`."""
    assert rollout.plan is not None  # A rollout in the canary phase has a plan.
    step = rollout.steps[-1]
    plan = rollout.plan.steps[step.index]
    seconds = (now - step.started_at).total_seconds()
    line = (
        f"canary {share(step.weight)}: {answered(rollout):,} of at least {plan.minimum_requests:,} requests, "
        f"{max(seconds, 0):.0f} of at least {plan.minimum_seconds:g} s"
    )
    if rollout.progress and rollout.progress.text:
        return f"{line}; {rollout.progress.text}"
    needs = step.assessment.needs if step.assessment else ""
    return f"{line}; needs {needs}" if needs else line


def metric_lines(metrics: Sequence[Metric], progress: Progress | None, *, evidence: bool) -> Iterator[str]:
    """Yields what was observed of each metric, what is tolerated and unacceptable, and how long it takes until it is
    cleared. With `evidence` the line for statisticians is included."""
    for metric in metrics:
        left = progress.metrics.get(metric.name) if progress else None
        yield f"{state(metric)}: {metric.summary}{_still_takes(left)}"
        if evidence and metric.judged:
            yield f"  evidence: {statistics(metric)}"


def _still_takes(left: MetricProgress | None) -> str:
    if left is None:
        return ""
    if left.requests_left is None:
        return "; how many more requests it takes cannot be estimated yet"
    until = f", until {left.clear_at:%Y-%m-%d %H:%M} UTC" if left.clear_at else ""
    return f"; about {left.requests_left:,} more canary requests to clear{until}"


def state(metric: Metric) -> str:
    """Returns the state of the metric."""
    return "aborted" if metric.state == "bad" else metric.state  # Earlier versions stored this value.


def statistics(metric: Metric) -> str:
    """Returns the statistical evidence of a metric that is judged."""
    if metric.evidence is not None:
        return metric.evidence
    against, in_favour = _evidence(metric.e_bad, metric.bound_bad), _evidence(metric.e_good, metric.bound_good)
    return f"against it {against}, for it {in_favour}"  # An earlier version stored it.


def _evidence(value: float | None, bound: float | None) -> str:
    return "unknown" if value is None or bound is None else f"{value:,.3g} of {bound:,.0f}"


def metric_row(metric: Metric) -> tuple[str, str, str, str, str]:
    """Returns name, state, canary, champion and evidence."""
    if not metric.judged:
        return metric.name, state(metric), "", "", metric.summary
    return metric.name, state(metric), _counts(metric.canary), _counts(metric.champion), statistics(metric)


def _counts(arm: Arm | None) -> str:
    return f"{arm.events:,} of {arm.of:,}" if arm else ""


def ago(moment: datetime | float, now: datetime) -> str:
    """Returns how long ago it was. `moment` may be in seconds since the epoch."""
    then = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, now.tzinfo)
    seconds = max((now - then).total_seconds(), 0)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def utc(moment: datetime) -> str:
    """Returns the time to the second: `2026-03-02T09:30:00Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def say(at: Session, answer: Document) -> None:
    """Prints what was done or ordered."""
    from serinus.cli.answers import read
    from serinus.resources import Message

    at.out.json(answer) if at.out.as_json else at.out.line(read(Message, answer).message)


def watch_lines(watch: WatchOfChampion) -> Iterator[str]:
    """Yields lines about a release that is watched after its promotion."""
    yield f"{watch.release}: {watch.summary}"
    yield from (f"  degraded: {line}" for line in watch.degraded)
    yield from (f"  {metric.summary}" for metric in watch.metrics)
    yield from (f"  {name}: not watched, {why}" for name, why in watch.not_watched.items())


def threshold_line(threshold: float, alerts: AlertRate | None) -> str:
    """Returns the alert threshold, and the share of live requests that alert."""
    line = f"alert threshold {threshold:.6g}"
    if alerts is None:
        return f"{line}; no live requests are counted yet"
    between = f"{alerts.rate_low:.2%} to {alerts.rate_high:.2%}"
    return f"{line}; {alerts.rate:.2%} of {alerts.rows:,} live rows alerted (95%: {between})"


def rechecked_line(counts: Rechecked) -> str:
    """Returns the number of answers that were compared with the model's own `predict`."""
    others = (
        (counts.nondeterministic, "to which the model itself gives different answers"),
        (counts.unrepeated, "that differed only once"),
        (counts.failures, "rechecks to which the model gave no answer"),
    )
    told = [f"{count:,} {text}" for count, text in others if count]
    text = f"{counts.compared:,} answers compared with the model's own predict, {counts.differing:,} of them wrong"
    return "; ".join([text, *told])
