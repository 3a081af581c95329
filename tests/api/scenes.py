"""What a fleet looks like in the middle of things: rollouts as the engine and the judge would have stored them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from small_fleet import NOW, Installation, process

from serinus.core.events import Event
from serinus.core.evidence import Traffic, Verdict
from serinus.core.examination import GateResult, Outcome
from serinus.core.people import Access, Actor
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import (
    Assessment,
    Cause,
    Kind,
    ModelState,
    Phase,
    Plan,
    Policy,
    Rollout,
    Status,
    Step,
    StepRecord,
)

ANNA = Actor("anna", Access.DEPLOY, "127.0.0.1")


def release(model: str, version: str, digest: str) -> Release:
    return Release(f"{model}-{version}-{digest}", model, version, "a" * 64, "e" * 64, ServingSettings(), NOW)


V6 = release("card-fraud", "6", "1c04be")
V7 = release("card-fraud", "7", "3f9a2c")
V5 = release("card-fraud", "5", "9be011")

PLAN = Plan(
    champion=V6.id,
    champion_version="6",
    steps=(Step(500, 2000, 30, 600), Step(2500, 5000, 60, 900), Step(5000, 10000, 60, 900)),
    policy=Policy(),
    approval_required=False,
    settings=ServingSettings(),
    slow_ms=12.0,
)

GATES = (
    GateResult("scan", Outcome.PASS, "3 pickles import only numpy and scikit-learn"),
    GateResult("load", Outcome.PASS, "loaded in 2.1 s"),
    GateResult("signature", Outcome.PASS, "30 columns, the input example is answered"),
    GateResult("golden", Outcome.PASS, "200 rows answer as in training, largest difference 2.1e-07"),
    GateResult("quality", Outcome.INCONCLUSIVE, "recall .81 against .80 of the champion, interval -.03 to .05"),
)


def metric(name: str, state: str, canary: tuple[int, int], champion: tuple[int, int], ratio: float) -> dict[str, Any]:
    counts = {"events": canary[0], "first": canary[0], "of": canary[1]}
    others = {"events": champion[0], "first": champion[0], "of": champion[1]}
    words = f"{canary[0]:,} of {canary[1]:,} canary requests against {champion[0]:,} of {champion[1]:,} of the champion"
    return {
        "name": name,
        "state": state,
        "rare": name == "errors",
        "weight": 2500,
        "canary": counts,
        "champion": others,
        "ratio": ratio,
        "ratio_low": ratio / 2,
        "ratio_high": ratio * 2,
        "rho_ok": 1.5,
        "rho_bad": 3.0,
        "budget": 0.001 if name == "errors" else None,
        "e_bad": 4100.0 if state == "aborted" else 0.4,
        "e_bad_without_burst": 0.4,
        "e_good": 31.0 if state == "cleared" else 3.2,
        "bound_bad": 1000.0,
        "bound_good": 20.0,
        "needs": None if state == "cleared" else 1400,
        "summary": f"{name}: {words} (ratio {ratio:g}, tolerated up to 1.5)",
    }


def rollout(number: int, phase: Phase, **changes: Any) -> Rollout:
    """Of card-fraud@7, as it is at the beginning of `phase`."""
    reason = changes.pop("reason", "")
    cause = changes.pop("cause", Cause.NONE)
    made = Rollout(
        id=f"card-fraud-r{number}",
        model="card-fraud",
        kind=Kind.DEPLOY,
        version="7",
        asked_as="card-fraud@7",
        actor=ANNA,
        why="more trees",
        created_at=NOW - timedelta(minutes=8),
        spec="model: card-fraud\n",
        salt="abcd",
        plan=PLAN,
        status=Status(phase, NOW - timedelta(minutes=2), reason=reason, cause=cause),
        candidate=V7,
        threshold=0.72,
        champion_threshold=0.7,
        gates=GATES,
    )
    return replace(made, **changes)


def in_canary(number: int) -> Rollout:
    """In its second step; one metric is still open."""
    metrics = (
        metric("errors", "cleared", (0, 3612), (3, 10840), 0.4),
        metric("slow", "open", (41, 3612), (118, 10840), 1.04),
        metric("alerts", "cleared", (29, 3612), (88, 10840), 0.99),
        {"name": "missing", "state": "not judged", "summary": "missing: not judged, no threshold is known"},
    )
    now = Assessment(Verdict.CONTINUE, "slow is still open", metrics, needs="about 1,400 more requests of the canary")
    steps = (
        StepRecord(
            0,
            500,
            "r.0",
            NOW - timedelta(minutes=5),
            Assessment(Verdict.PROMOTE, "every metric is cleared", metrics[:1]),
            NOW - timedelta(minutes=2),
        ),
        StepRecord(1, 2500, "r.1", NOW - timedelta(minutes=2), now),
    )
    begun = rollout(number, Phase.CANARY, steps=steps)
    return replace(begun, status=replace(begun.status, step=1))


def stopped_by_the_judge(number: int) -> Rollout:
    bad = metric("errors", "aborted", (37, 2104), (3, 40201), 235.0)
    reason = f"{bad['summary']}; e-value 4,100, bound 1,000"
    step = StepRecord(
        0, 500, "r.0", NOW - timedelta(hours=2), Assessment(Verdict.ABORT, reason, (bad,)), NOW - timedelta(hours=1.9)
    )
    return rollout(
        number,
        Phase.ABORTED,
        reason=reason,
        cause=Cause.JUDGE,
        steps=(step,),
        candidate=V5,
        version="5",
        created_at=NOW - timedelta(hours=2),
    )


def stopped_at_a_gate(number: int) -> Rollout:
    failed = GateResult(
        "quality",
        Outcome.FAIL,
        "recall .58 against .80 of the champion at the alert budget, interval -.31 to -.12",
        {"recall": 0.58, "champion": 0.80, "frauds": 211},
    )
    return rollout(number, Phase.ABORTED, reason=failed.summary, cause=Cause.GATE, gates=(*GATES[:4], failed))


def busy(installation: Installation) -> None:
    """card-fraud: a canary in flight after two stopped rollouts; merchant-risk serves."""
    store = installation.store
    for ended in (stopped_by_the_judge(1), stopped_at_a_gate(2)):
        store.create(replace(ended, status=replace(ended.status, phase=Phase.CANARY)))
        store.save(ended)
    store.create(in_canary(3))
    merchant = release("merchant-risk", "2", "77d0aa")
    for one in (V5, V6, V7, merchant):
        store.add_release(one)
        installation.target.placements[one.id] = Placement(one.id, PlacementState.READY, memory_bytes=31_000_000)
    installation.target.placements[V6.id] = Placement(V6.id, PlacementState.READY, workers=2, way="onnx")
    installation.target.placements[merchant.id] = Placement(merchant.id, PlacementState.SCALED_TO_ZERO)
    store.save_model(
        ModelState("card-fraud", V6, 0.7, V5, NOW - timedelta(days=3), aborted={"5": "card-fraud-r1"}),
        [
            Event(
                NOW - timedelta(hours=1.9),
                "card-fraud",
                "card-fraud-r1",
                "aborted",
                "card-fraud@5 was aborted, because the judge found it worse than the champion",
            ),
            Event(NOW - timedelta(minutes=5), "card-fraud", "card-fraud-r3", "canary-500", "all gates passed"),
            Event(NOW - timedelta(minutes=2), "card-fraud", "card-fraud-r3", "canary-2500", "step 1 passed"),
        ],
    )
    store.save_model(ModelState("merchant-risk", merchant, 0.5, None, NOW - timedelta(days=12)))
    installation.log.traffics = {
        "card-fraud": [Traffic(V6.id, 10840, 300, 3, 1.4, 8.9), Traffic(V7.id, 3612, 300, 0, 1.5, 9.2)],
        "merchant-risk": [Traffic(merchant.id, 1210, 300, 0, 0.9, 3.1)],
    }


def troubled(installation: Installation) -> None:
    busy(installation)
    installation.warnings.append("models are not confined on this machine: their code can read all that Serinus can")
    installation.trouble["merchant-risk"] = ("the champion is failed: exited with status 1",)
    installation.processes[2] = process("envoy", "backing-off", 4, "exited with status 1 after 0.3 s")
