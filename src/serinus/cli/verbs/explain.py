"""The verb `serinus explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli import words
from serinus.cli.session import Session, part
from serinus.core.examination import Outcome

if TYPE_CHECKING:
    from serinus.core.rollout import StepRecord
    from serinus.resources import Explanation, Progress


def explain(
    at: Session,
    wanted: Annotated[
        str, typer.Argument(metavar="MODEL|RELEASE|ROLLOUT", help="For a model, its newest rollout is explained.")
    ],
) -> None:
    """Explain how a rollout went: every gate and every step, with the numbers.

    \b
      serinus explain card-fraud
      serinus explain card-fraud-7-3f9a2c
      serinus explain card-fraud-r12 --json
    """
    from serinus.cli.answers import read
    from serinus.resources import Explanation

    found = at.client.get(f"/v1/releases/{part(wanted)}/explain")
    if at.out.as_json:
        at.out.json(found)
        return
    rollout = read(Explanation, found)
    _head(at, rollout)
    for gate in rollout.gates:
        line = words.gate_line(gate)
        at.out.line(line, style="red" if gate.outcome is Outcome.FAIL else "")
    for step in rollout.steps:
        _step(at, step, rollout.progress if step is rollout.steps[-1] else None)
    if rollout.watch:
        for line in words.watch_lines(rollout.watch):
            at.out.line(line)
    if rollout.confinement:
        at.out.line(f"Confinement: {rollout.confinement}.")
    for note in rollout.notes:
        at.out.line(f"note: {note}")
    if rollout.events:
        at.out.line()
        at.out.table(["when", "event", ""], [[words.utc(e.at), e.kind, e.text] for e in rollout.events])


def _head(at: Session, rollout: Explanation) -> None:
    status = rollout.status
    good = words.succeeded(rollout)
    at.out.line(f"{rollout.id}: {rollout.model}@{rollout.version}, {rollout.kind.value}", style="bold")
    if status.phase.ended:
        at.out.line(words.end_line(rollout), style="green" if good else "red")
    else:
        at.out.line(f"{status.phase.value}: {status.hold or status.reason or 'under way'}", style="cyan")
    why = f": {rollout.why}" if rollout.why else ""
    at.out.line(f"requested as {rollout.asked_as} by {rollout.summary.asked_by}{why}")
    if rollout.summary.approved_by:
        at.out.line(f"approved by {rollout.summary.approved_by}")
    if rollout.candidate:
        at.out.line(f"release {rollout.candidate.id}")
    if rollout.threshold is not None:
        beside = rollout.champion_threshold
        champion = "" if beside is None else f", the champion's {beside:.6g}"
        at.out.line(f"alert threshold {rollout.threshold:.6g}{champion}")
    if rollout.distrust:
        at.out.line(f"served by the model's own predict: {rollout.distrust}", style="red")
    if rollout.rechecked:
        at.out.line(words.rechecked_line(rollout.rechecked))


def _step(at: Session, step: StepRecord, progress: Progress | None) -> None:
    assessment = step.assessment
    said = f"{assessment.verdict.value}: {assessment.reason}" if assessment else "no figures yet"
    at.out.line(f"canary {words.share(step.weight)}: {said}")
    if progress and progress.text:
        at.out.line(f"  {progress.text}")
    if progress and progress.not_counted:
        at.out.line(f"  {progress.not_counted}")
    for line in words.metric_lines(words.metrics_of(assessment), progress, evidence=True):
        at.out.line(f"  {line}")
