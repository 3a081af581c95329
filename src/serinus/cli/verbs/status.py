from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from serinus.cli import words
from serinus.cli.outcome_words import show_outcomes
from serinus.cli.session import Session, part
from serinus.core.routing import WHOLE

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
    if model is not None and at.out.as_json:
        at.out.json(at.client.get(f"/v1/models/{part(model)}"))
        return
    fleet = at.client.get("/v1/status")
    if at.out.as_json:
        at.out.json(fleet)
        return
    if model is not None:
        fleet = {**fleet, "models": [at.client.get(f"/v1/models/{part(model)}")]}
    _show(at, fleet, whole=model is None)


def _show(at: Session, fleet: Mapping[str, Any], *, whole: bool) -> None:
    now = datetime.fromisoformat(fleet["now"])
    models = fleet["models"]
    if models:
        columns = ["model", "state", "champion", "since", "requests", "errors", "p99"]
        at.out.table(columns, [_row(m, now) for m in models])
    else:
        at.out.line("Nothing is deployed yet. Register a model in MLflow, then run `serinus deploy MODEL@1`.")
    for one in models:
        if one["rollout"]:
            _show_rollout(at, one["rollout"], now, evidence=not whole)
        for note in one["notes"]:
            at.out.line(f"{one['model']}: {note}", style="" if one["state"] == "starting" else "yellow")
        if not whole and one["champion"] and one["champion"]["remarks"]:
            at.out.line(f"{one['champion']['release']}: {one['champion']['remarks']}")
        if not whole and one["champion"] and one["champion"]["threshold"] is not None:
            at.out.line(f"{one['champion']['release']}: {words.threshold_line(one['champion'], one['alerts'])}")
        if not whole and one["watch"]:
            for line in words.watch_lines(one["watch"]):
                at.out.line(line)
        if not whole and one["outcomes"]:
            show_outcomes(at.out, one["outcomes"])
        if not whole and one["rechecked"]:
            at.out.line(f"{one['champion']['release']}: {words.rechecked_line(one['rechecked'])}")
    ill = [p for p in fleet["processes"] if p["state"] != "running"]
    for process in fleet["processes"] if whole else ():
        _show_process(at, process, now)
    for warning in fleet["warnings"] if whole else ():
        at.out.line(f"warning: {warning}", style="yellow")
    if whole and fleet["confinement"]:
        at.out.line(f"Confinement: {fleet['confinement']}.")
    if ill or fleet["warnings"] or any(m["state"] == "trouble" for m in models):
        return
    if starting := [m["model"] for m in models if m["state"] == "starting"]:
        at.out.line(f"Starting: {', '.join(starting)}.", style="cyan")
    else:
        at.out.line("All is well.", style="green")


def _row(model: Mapping[str, Any], now: datetime) -> list[str]:
    champion = model["champion"]
    live = next((t for t in model["traffic"] if champion and t["release"] == champion["release"]), None)
    return [
        model["model"],
        model["state"],
        champion["release"] if champion else "none",
        words.ago(champion["since"], now) if champion and champion["since"] else "",
        f"{live['requests']:,}" if live else "0",
        f"{live['errors']:,}" if live else "0",
        f"{live['p99_ms']:.1f} ms" if live and live["p99_ms"] is not None else "",
    ]


def _show_process(at: Session, process: Mapping[str, Any], now: datetime) -> None:
    """Only one that does not run, or was started again within the hour."""
    name, reason = process["name"], process["reason"] or "the reason is not known"
    if process["state"] != "running":
        at.out.line(f"{name} is {process['state']}: {reason}", style="red")
    elif process["restarts"] and now.timestamp() - process["since"] < RESTARTS_TOLD_SECONDS:
        at.out.line(f"{name} was restarted {words.ago(process['since'], now)}: {reason}", style="yellow")


def _show_rollout(at: Session, rollout: Mapping[str, Any], now: datetime, *, evidence: bool) -> None:
    """`rollout`: a summary, as the status holds it. `evidence`: with the line for statisticians."""
    phase = rollout["phase"]
    where = f"canary {words.share(int(rollout['steps'][rollout['step']] * WHOLE))}" if phase == "canary" else phase
    asked = f"{rollout['model']}@{rollout['version']}"
    at.out.line(f"{rollout['id']}: {asked}, {where} since {words.ago(rollout['since'], now)}", style="cyan")
    waits = rollout["hold"] or (f"needs {rollout['needs']}" if rollout["needs"] else rollout["reason"])
    if waits:
        at.out.line(f"  {waits}")
    if rollout["progress"] and rollout["progress"]["text"]:
        at.out.line(f"  {rollout['progress']['text']}")
    if rollout["progress"] and rollout["progress"]["not_counted"]:
        at.out.line(f"  {rollout['progress']['not_counted']}")
    for line in words.metric_lines(rollout["metrics"], rollout["progress"], evidence=evidence):
        at.out.line(f"  {line}")
