"""Values that a store keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from serinus.core.events import Event
from serinus.core.evidence import Verdict
from serinus.core.examination import GateResult, Outcome
from serinus.core.people import Access, Actor
from serinus.core.release import Artifact, Column, Release, Requirements, ServingSettings
from serinus.core.rollout import Assessment, Cause, Kind, Phase, Plan, Policy, Rollout, Status, Step, StepRecord

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ANNA = Actor("anna", Access.DEPLOY, "cli")


def release(version: str = "7", model: str = "card-fraud") -> Release:
    return Release(
        id=f"{model}-{version}-3f9a2c",
        model=model,
        version=version,
        artifact_digest="a" * 64,
        environment_digest="e" * 64,
        settings=ServingSettings(timeout_ms=100, fallback_score=0.5),
        created_at=NOW,
    )


def rollout(number: int = 1, model: str = "card-fraud", phase: Phase = Phase.RESOLVE) -> Rollout:
    return Rollout(
        id=f"{model}-r{number}",
        model=model,
        kind=Kind.DEPLOY,
        version="7",
        asked_as=f"{model}@7",
        actor=ANNA,
        why="better recall",
        created_at=NOW,
        spec="model: card-fraud\n",
        salt="5a17",
        plan=None,
        status=Status(phase, NOW),
    )


def full_rollout() -> Rollout:
    """Every field in use, with what JSON has no word for: sets, times, infinite bounds."""
    artifact = Artifact(
        digest="a" * 64,
        requirements=Requirements(("scikit-learn==1.7.2",), "3.11.7", NOW, "requirements.txt"),
        inputs=(Column("amount", "double"), Column("country", "string", required=False)),
        outputs=None,
        flavor="mlflow.sklearn",
        warnings=("logged without outputs",),
    )
    plan = Plan(
        champion="card-fraud-6-000000",
        champion_version="6",
        steps=(Step(500, 1000, 60.0, 3600.0), Step(2500, 1000, 60.0, 3600.0)),
        policy=Policy(alerts=None),
        approval_required=True,
        settings=ServingSettings(),
        accepts=frozenset({"one-at-a-time"}),
    )
    assessment = Assessment(
        Verdict.CONTINUE, "not enough", ({"name": "errors", "e_bad": float("inf"), "bounds": [0.0, 0.1]},), {"seen": 12}
    )
    return replace(
        rollout(),
        plan=plan,
        status=Status(Phase.CANARY, NOW, 1, reason="at 25 %", cause=Cause.NONE),
        artifact=artifact,
        candidate=release(),
        threshold=0.93,
        gates=(GateResult("load", Outcome.PASS, "loads in 1.2 s", {"seconds": 1.2, "notes": ["ä", None]}),),
        steps=(StepRecord(0, 500, "card-fraud-r1.0", NOW, assessment, NOW + timedelta(minutes=5)),),
        approved_by="bert",
        notes=("dated lock",),
    )


def event(kind: str, model: str = "card-fraud") -> Event:
    return Event(NOW, model, f"{model}-r1", kind, f"{kind} happened", {"weight": 500})
