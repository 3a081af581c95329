"""The verb `serinus status`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli import words
from serinus.cli.outcome_words import show_outcomes
from serinus.cli.session import Session, part
from serinus.core.routing import WHOLE

if TYPE_CHECKING:
    from serinus.resources import Fleet, Model, ModelAlone, Process, RolloutSummary

RESTARTS_TOLD_SECONDS = 3600.0


def status(
    at: Session,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", show_default=False, help="Show only this model.")
    ] = None,
) -> None:
    """Show what is live, what is in flight, and whether anything is wrong.

    \b
      serinus status
      serinus status card-fraud --json
    """
    from serinus.cli.answers import read
    from serinus.resources import Fleet, ModelAlone

    if model is not None and at.out.as_json:
        at.out.json(at.client.get(f"/v1/models/{part(model)}"))
        return
    answer = at.client.get("/v1/status")
    if at.out.as_json:
        at.out.json(answer)
        return
    fleet = read(Fleet, answer)
    alone = read(ModelAlone, at.client.get(f"/v1/models/{part(model)}")) if model is not None else None
    _show(at, fleet, alone)


def _show(at: Session, fleet: Fleet, alone: ModelAlone | None) -> None:
    """Prints the status. `alone` is the model that was requested. None: the whole fleet."""
    now, models = fleet.now, fleet.models if alone is None else [alone]
    if models:
        columns = ["model", "state", "champion", "since", "requests", "errors", "p99"]
        at.out.table(columns, [_row(m, now) for m in models])
    else:
        at.out.line("Nothing is deployed yet. Register a model in MLflow, then run `serinus deploy MODEL@1`.")
    for one in models:
        if one.rollout:
            _show_rollout(at, one.rollout, now, evidence=alone is not None)
        for note in one.notes:
            at.out.line(f"{one.model}: {note}", style="" if one.state == "starting" else "yellow")
    if alone is not None:
        _show_alone(at, alone)
    else:
        _show_installation(at, fleet, now)
    if (
        any(p.state != "running" for p in fleet.processes)
        or fleet.warnings
        or any(m.state == "trouble" for m in models)
    ):
        return
    if starting := [m.model for m in models if m.state == "starting"]:
        at.out.line(f"Starting: {', '.join(starting)}.", style="cyan")
    else:
        at.out.line("All is well.", style="green")


def _show_alone(at: Session, model: ModelAlone) -> None:
    champion = model.champion
    if champion and champion.remarks:
        at.out.line(f"{champion.release}: {champion.remarks}")
    if champion and champion.threshold is not None:
        at.out.line(f"{champion.release}: {words.threshold_line(champion.threshold, model.alerts)}")
    if model.watch:
        for line in words.watch_lines(model.watch):
            at.out.line(line)
    if model.outcomes:
        show_outcomes(at.out, model.outcomes)
    if champion and model.rechecked:
        at.out.line(f"{champion.release}: {words.rechecked_line(model.rechecked)}")


def _show_installation(at: Session, fleet: Fleet, now: datetime) -> None:
    for process in fleet.processes:
        _show_process(at, process, now)
    for warning in fleet.warnings:
        at.out.line(f"warning: {warning}", style="yellow")
    if fleet.confinement:
        at.out.line(f"Confinement: {fleet.confinement}.")


def _row(model: Model, now: datetime) -> list[str]:
    champion = model.champion
    live = next((t for t in model.traffic if champion and t.release == champion.release), None)
    return [
        model.model,
        model.state,
        champion.release if champion else "none",
        words.ago(champion.since, now) if champion and champion.since else "",
        f"{live.requests:,}" if live else "0",
        f"{live.errors:,}" if live else "0",
        f"{live.p99_ms:.1f} ms" if live and live.p99_ms is not None else "",
    ]


def _show_process(at: Session, process: Process, now: datetime) -> None:
    """Prints a process that does not run, or was restarted within the last hour."""
    name, reason = process.name, process.reason or "the reason is not known"
    if process.state != "running":
        at.out.line(f"{name} is {process.state}: {reason}", style="red")
    elif process.restarts and now.timestamp() - process.since < RESTARTS_TOLD_SECONDS:
        at.out.line(f"{name} was restarted {words.ago(process.since, now)}: {reason}", style="yellow")


def _show_rollout(at: Session, rollout: RolloutSummary, now: datetime, *, evidence: bool) -> None:
    """Prints a rollout. `evidence`: with the line for statisticians."""
    phase = rollout.phase
    where = f"canary {words.share(int(rollout.steps[rollout.step] * WHOLE))}" if phase == "canary" else phase
    asked = f"{rollout.model}@{rollout.version}"
    at.out.line(f"{rollout.id}: {asked}, {where} since {words.ago(rollout.since, now)}", style="cyan")
    waits = rollout.hold or (f"needs {rollout.needs}" if rollout.needs else rollout.reason)
    if waits:
        at.out.line(f"  {waits}")
    if rollout.progress and rollout.progress.text:
        at.out.line(f"  {rollout.progress.text}")
    if rollout.progress and rollout.progress.not_counted:
        at.out.line(f"  {rollout.progress.not_counted}")
    for line in words.metric_lines(rollout.metrics, rollout.progress, evidence=evidence):
        at.out.line(f"  {line}")
