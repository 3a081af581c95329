"""The cases, in the order in which they run. Each adds rows or facts to the results; DidNotStart: it could not run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench import rollouts
from bench.bounds import BOUNDS
from bench.control import control
from bench.data import request_rows
from bench.fleetcases import bulkhead, evenness, fleet, memory, wake
from bench.models import own_compute_us
from bench.outcomes import outcomes
from bench.product import Installation, Serinus
from bench.results import Results
from bench.rivals import PEERS
from bench.servers import Server
from bench.throughput import Effort, Factories, compare

GATHERED_FOR = "2ms"
HALF_LOAD = ("serinus", "envoy-bare", "kserve", "fastapi")


@dataclass(frozen=True)
class Plan:
    effort: Effort
    servers: Sequence[str] | None
    """None: all."""
    quick: bool = False

    def chosen(self, factories: Factories) -> Factories:
        return {key: make for key, make in factories.items() if self.servers is None or key in self.servers}


def xgboost(plan: Plan, results: Results) -> None:
    """One row of 34 numbers; everybody. The bare fast path comes right before what is compared with it."""
    _compare("xgboost", "xgboost", plan, results, {**PEERS["xgboost"], **BOUNDS}, HALF_LOAD)


def pipeline(plan: Plan, results: Results) -> None:
    """Strings and numbers through a scikit-learn pipeline, as MLflow saved it."""
    _compare("pipeline", "pipeline", plan, results, PEERS["pipeline"])


def pyfunc(plan: Plan, results: Results) -> None:
    """Custom Python, which nothing compiles."""
    _compare("pyfunc", "pyfunc", plan, results, PEERS["pyfunc"])
    results.facts["pyfunc"] = {"own_compute_us": round(own_compute_us(), 1)}


def cache(plan: Plan, results: Results) -> None:
    """The pipeline with and without the response cache, compiled: a hit saves more, the longer the model takes."""
    _compare("cache", "pipeline", plan, results, {}, cached=True)


def cache_uncompiled(plan: Plan, results: Results) -> None:
    """The same, served by the model's own libraries."""
    _compare("cache-uncompiled", "pipeline", plan, results, {}, cached=True, compile="off")


def batching(plan: Plan, results: Results) -> None:
    """Models in their own libraries, alone and gathered: that helps where a call costs more than a row does."""
    for kind in ("pipeline", "xgboost", "pyfunc"):
        with Installation("batching", keys=True) as installation:
            alone = partial(_uncompiled, installation, kind, kind)
            gathered = partial(_uncompiled, installation, kind, f"{kind}-gathered", batch={"delay": GATHERED_FOR})
            rows = request_rows(strings=kind == "pipeline")
            compare("batching", {kind: alone, f"{kind}-gathered": gathered}, rows, plan.effort, results)


def _uncompiled(installation: Installation, kind: str, model: str, _case: str, **serving: Any) -> Server:
    return Serinus(installation, model.replace("-", ", "), model, kind, workers=1, compile="off", **serving)


def _compare(
    case: str,
    kind: str,
    plan: Plan,
    results: Results,
    others: Mapping[str, Callable[[str], Server]],
    half_load: Sequence[str] = (),
    *,
    cached: bool = False,
    **serving: str,
) -> None:
    with Installation(case, keys=True) as installation:

        def ours(_: str) -> Server:
            return Serinus(installation, "Serinus, everything on", f"bench-{kind}", kind, workers=1, **serving)

        def ours_cached(_: str) -> Server:
            return Serinus(installation, "Serinus, cached", f"cached-{kind}", kind, workers=1, cache="on", **serving)

        factories = {**others, "serinus": ours, **({"serinus-cached": ours_cached} if cached else {})}
        rows = request_rows(strings=kind == "pipeline")
        compare(case, plan.chosen(factories), rows, plan.effort, results, half_load)


CASES: dict[str, Callable[[Plan, Results], None]] = {
    "xgboost": xgboost,
    "pipeline": pipeline,
    "pyfunc": pyfunc,
    "cache": cache,
    "cache-uncompiled": cache_uncompiled,
    "batching": batching,
    "deploy": lambda plan, results: rollouts.deploy(results, times=1 if plan.quick else 3),
    "switch": lambda plan, results: rollouts.switch(results, times=2 if plan.quick else 5),
    "evenness": lambda plan, results: evenness(results, models=10 if plan.quick else 50),
    "bulkhead": lambda _, results: bulkhead(results),
    "memory": lambda _, results: memory(results),
    "wake": lambda plan, results: wake(results, models=15 if plan.quick else 30),
    "control": lambda plan, results: control(results, *((200, 10, 60) if plan.quick else ())),
    "outcomes": lambda plan, results: outcomes(results, *((100_000,) if plan.quick else ())),
    "fleet": lambda plan, results: fleet(results, models=24 if plan.quick else 200),
}
