"""Cases of many models at once: evenness, bulkheads, memory, waking, and 200 of them in little memory."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import httpx
import numpy as np

from bench import SCRATCH, openloop, wrk
from bench.data import request_rows
from bench.fleets import Small, publish, small, wrong_answers, zipf
from bench.processes import DidNotStart, pss_mb_by_kind, usage
from bench.product import Installation
from bench.requests import split
from bench.results import Results
from serinus.core.placement import PlacementState

_RATE = 1000
_CALM_RATE = 300
_BUSY_CALLERS = 64
_FLEET_RATE = 300
_FLEET_SECONDS = 60
_BUDGET = 5 * 2**30
"""Bytes for all workers and zygotes: the rest of the 6 GiB is for the processes of Serinus itself."""
_REST = 9
"""Times as long as a look at the memory takes."""
_TREES = 5
_PASSES = 3


def evenness(results: Results, models: int) -> None:
    """All at the same rate: how far their p99 are apart."""
    with Installation("evenness") as installation:
        fleet_of = small(models, environments=1)
        publish(installation, fleet_of)
        asks = [ask for turn in zip(*(model.asks() for model in fleet_of), strict=True) for ask in turn]
        openloop.run(installation.port, asks, _RATE, 3)
        found = openloop.run(installation.port, asks, _RATE, 30)
        tails = [(histogram.quantile(0.99) or 0.0) * 1e3 for histogram in found.by_name.values()]
        results.facts["evenness"] = {
            "models": models,
            "least_p99_ms": round(min(tails), 3),
            "most_p99_ms": round(max(tails), 3),
            "rate": _RATE,
            "failed": found.failed,
        }


def bulkhead(results: Results, seconds: float = 15.0) -> None:
    """One model is asked for more than it can answer: what callers of another notice of it."""
    if not wrk.there():
        results.not_run["bulkhead"] = wrk.HOW_TO_GET
        return
    with Installation("bulkhead") as installation:
        installation.publish("busy", "pipeline", workers=1, compile="off")
        installation.publish("calm", "xgboost", workers=1)
        asks = [openloop.Ask(one) for one in split("/models/calm/invocations").raw(request_rows(strings=False))]
        script = SCRATCH / "run" / "bulkhead.lua"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(wrk.script(split("/models/busy/invocations"), request_rows(strings=True)))
        openloop.run(installation.port, asks, _CALM_RATE, 3)
        alone = openloop.run(installation.port, asks, _CALM_RATE, seconds)
        with ThreadPoolExecutor(1) as beside:
            overload = beside.submit(wrk.run, installation.port, script, _BUSY_CALLERS, seconds + 5)
            time.sleep(3)
            meanwhile = openloop.run(installation.port, asks, _CALM_RATE, seconds)
            busy = overload.result()
        results.facts["bulkhead"] = {
            "alone_p99_ms": round(alone.ms(0.99), 2),
            "beside_p99_ms": round(meanwhile.ms(0.99), 2),
            "rate": _CALM_RATE,
            "failed": alone.failed + meanwhile.failed,
            "busy_callers": _BUSY_CALLERS,
            "busy_p50_ms": round(busy.p50_ms, 1),
            "busy_rps": round(busy.rps, 1),
        }


def memory(results: Results) -> None:
    """What each of several releases of the 300 trees costs while it has a worker and has been asked."""
    with Installation("memory") as installation:
        for index in range(_TREES):
            installation.publish(f"trees-{index}", "xgboost", workers=1)
        time.sleep(3)
        placements = [one for one in installation.workers().values() if one.way == "onnx" and one.pid]
        if not placements:
            raise DidNotStart("no release of these trees is served compiled")
        each = [usage([one.pid]).pss_mb for one in placements if one.pid]
        results.facts["memory"] = {"pss_mb": round(statistics.median(each), 1), "models": len(each)}


def wake(results: Results, models: int) -> None:
    """Models that sleep are asked one after the other, by a caller with a kept connection to Envoy."""
    with Installation("wake") as installation:
        fleet_of = small(models, environments=2, uncompiled=[1])
        publish(installation, fleet_of)
        installation.host_with("--idle", "20", "--young", "1", "--busiest", "0", "--survey", "1")
        taken: dict[str, list[float]] = {"compiled": [], "uncompiled": []}
        for _ in range(_PASSES):
            _wait_for_sleep(installation, models)
            for model in fleet_of:
                seconds = _first_answer(installation, model)
                taken["compiled" if model.compiled else "uncompiled"].append(seconds * 1e3)
        results.facts["wake"] = {name: _wakes(found) for name, found in taken.items() if found}


def _wakes(taken: Sequence[float]) -> dict[str, float]:
    median, p99 = (round(float(np.quantile(taken, share)), 1) for share in (0.5, 0.99))
    return {"median_ms": median, "p99_ms": p99, "wakes": len(taken)}


def _wait_for_sleep(installation: Installation, models: int) -> None:
    until = time.monotonic() + 180
    while True:
        states = [one.state for one in installation.workers().values()]
        if states.count(PlacementState.SCALED_TO_ZERO) == models:
            return
        if time.monotonic() > until:
            raise DidNotStart(f"only {states.count(PlacementState.SCALED_TO_ZERO)} of {models} went to sleep in 180 s")
        time.sleep(0.5)


def _first_answer(installation: Installation, model: Small) -> float:
    """Seconds of the request that activates it. DidNotStart: it was answered with an error."""
    body = model.asks()[0].request.partition(b"\r\n\r\n")[2]
    headers = {"content-type": "application/json"}
    with httpx.Client(base_url=installation.addresses["envoy"], timeout=30, trust_env=False) as caller:
        caller.get("/v2/health/live")
        began = time.perf_counter()
        answer = caller.post(f"/models/{model.name}/invocations", content=body, headers=headers)
        taken = time.perf_counter() - began
    if answer.status_code != 200:
        raise DidNotStart(f"{model.name} woke with {answer.status_code}: {answer.text[:200]}")
    return taken


class Watch:
    """`with Watch(installation) as watch: ...`: memory of all processes together, every two seconds; less often where
    to look takes so long that it would be a load of its own."""

    def __init__(self, installation: Installation) -> None:
        self.samples: list[Mapping[str, float]] = []
        """MB PSS by kind of process."""
        self._installation = installation
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory")

    def _look(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            self.samples.append(pss_mb_by_kind(self._installation.pids()))
            self._stopped.wait(max(2.0, _REST * (time.monotonic() - began)))

    @property
    def pss_mb(self) -> list[float]:
        return [sum(sample.values()) for sample in self.samples]

    def at_most(self) -> dict[str, float]:
        """What it was made of when it was most, the largest first."""
        most: Mapping[str, float] = max(self.samples, key=lambda sample: sum(sample.values()), default={})
        return {kind: round(mb) for kind, mb in sorted(most.items(), key=lambda one: -one[1]) if mb >= 1}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()


def fleet(results: Results, models: int, environments: int = 8) -> None:
    """All of them asked, the popular ones often; seven of eight environments serve their models uncompiled."""
    with Installation("fleet") as installation:
        installation.host_with("--memory", str(_BUDGET))
        fleet_of = small(models, environments, uncompiled=range(1, environments))
        with Watch(installation) as watch:
            publish(installation, fleet_of)
            asks = zipf(fleet_of, _FLEET_RATE * _FLEET_SECONDS)
            found = openloop.run(installation.port, asks, _FLEET_RATE, _FLEET_SECONDS)
            wrong = wrong_answers(installation, fleet_of)
        results.facts["fleet"] = {
            "models": models,
            "environments": environments,
            "most_pss_mb": round(max(watch.pss_mb), 1),
            "usual_pss_mb": round(statistics.median(watch.pss_mb), 1),
            "at_most_mb": watch.at_most(),
            "failed": found.failed,
            "asked": found.answered + found.failed,
            "p99_ms": round(found.ms(0.99), 1),
            "wrong": wrong,
        }
