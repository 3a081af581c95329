"""How long it takes until a deployment, or a rollback, is what callers get."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bench.data import request_rows
from bench.fleets import with_requirements
from bench.models import saved
from bench.openloop import Ask, OpenLoop, Seen
from bench.processes import DidNotStart
from bench.product import Installation
from bench.requests import split
from bench.results import Results

_MODEL = "switched"
_CANARY = """
model: {model}
serving: {{timeout: 10s}}
gates: {{evaluation: null, golden: null, latency_p99: 5s}}
rollout: {{steps: [{{traffic: 50%, for: 1h}}]}}
"""
_RATE = 5000
_RATE_WHILE_DEPLOYING = 200
_PATIENCE = 400.0
"""Seconds in which a canary begins."""


_WITH = ("six==1.16.0", "six==1.17.0", "six==1.15.0")
"""What a version requires beyond the champion's requirements. Each makes another environment."""


def deploy(results: Results, times: int) -> None:
    """From `serinus deploy`'s request to the first answer of the canary, by an open loop at 200 requests a second."""
    with Installation("deploy") as installation:
        installation.publish(_MODEL, "xgboost")
        there, warm = [], []
        for number, package in enumerate(_WITH[:times]):
            other, elsewhere = installation.home / f"other-{number}", installation.home / f"other-environment-{number}"
            shutil.copytree(saved("xgboost"), other)
            (other / "notes.txt").write_text(
                f"Other files than the champion's, so nothing that was found of those is known: {number}."
            )
            with_requirements(saved("xgboost"), [package], elsewhere)
            there.append(first_canary(installation, _MODEL, other))
            warm.append(first_canary(installation, _MODEL, elsewhere))
        results.facts["deploy"] = {
            "there_s": statistics.median(there),
            "warm_s": statistics.median(warm),
            "times": len(there),
        }


def first_canary(installation: Installation, model: str, directory: Path, rate: float = _RATE_WHILE_DEPLOYING) -> float:
    """Deploys the bench's model in `directory` under `rate` requests a second. Seconds; the rollout is aborted then."""
    version = installation.register(model, directory)
    with installation.api() as api:
        champion = installation.champion(api, model)
        with OpenLoop(installation.port, asks_of(model), rate, releases=True, host=installation.host) as loop:
            began = time.monotonic()
            rollout = installation.order(api, model, version, _CANARY.format(model=model))
            while not (canary := _first_other(loop.report.releases, champion)):
                status = api.get(f"/v1/rollouts/{rollout}").raise_for_status().json()["status"]
                if status["phase"] == "aborted" or time.monotonic() - began > _PATIENCE:
                    raise DidNotStart(f"no canary request: {status['phase']}: {status['reason']}")
                time.sleep(0.05)
    installation.run("abort", model, "--reason", "bench", "--yes")
    print(f"  first canary request after {canary - began:.2f} s, {loop.report.failed} failed", flush=True)
    return round(canary - began, 2)


def _first_other(seen: Sequence[Seen], champion: str) -> float | None:
    return next((one.ended for one in seen if one.release not in (champion, "router")), None)


def switch(results: Results, times: int) -> None:
    """Rollbacks under 5,000 requests a second: until the last answer of the release that is taken out."""
    with Installation("switch") as installation:
        for _ in range(2):
            installation.publish(_MODEL, "xgboost")
        effects, failed, answered, seconds = [], 0, 0, 0.0
        for _ in range(times):
            loop = OpenLoop(installation.port, asks_of(_MODEL), _RATE, connections=64, releases=True)
            effects.append(rollback(installation, _MODEL, loop))
            failed, answered = failed + loop.report.failed, answered + loop.report.answered
            seconds += loop.report.seconds
            print(f"  in effect after {effects[-1]:.0f} ms, {loop.report.failed} failed", flush=True)
        results.facts["switch"] = {
            "effect_ms": statistics.median(effects),
            "most_ms": max(effects),
            "failed": failed,
            "rate": answered / seconds,
            "times": times,
        }


def rollback(installation: Installation, model: str, loop: OpenLoop) -> float:
    """Milliseconds from the order to the last answer of the release that is taken out, under the load of `loop`."""
    with installation.api() as api, loop:
        time.sleep(1.5)
        old = loop.report.releases[-1].release
        before = api.get(f"/v1/models/{model}").raise_for_status().json()["previous"]["release"]
        began = time.monotonic()
        wish = {"to": before, "why": "bench"}  # by name: each time to what was rolled back from the time before
        answer = api.post(f"/v1/models/{model}/rollback", json=wish).raise_for_status()
        installation.ended(api, answer.json()["rollout"], 60)
        time.sleep(0.5)
    last = max((seen.ended for seen in loop.report.releases if seen.release == old), default=began)
    if loop.report.releases[-1].release == old:
        raise DidNotStart(f"the rollback was promoted, and {old} still answers")
    return max(last - began, 0.0) * 1e3


def asks_of(model: str) -> list[Ask]:
    protocol = split(f"/models/{model}/invocations")
    return [Ask(request) for request in protocol.raw(request_rows(strings=False))]
