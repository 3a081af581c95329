"""What must be reached, and whether it was: from results alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.results import Results, Row, ratio

OURS, BARE, MLFLOW, KSERVE = "serinus", "envoy-bare", "mlflow", "kserve"
PEERS = ("mlflow", "mlserver-mlflow", "mlserver-xgboost", "kserve", "bentoml", "fastapi")


@dataclass(frozen=True)
class Goal:
    what: str
    goal: str
    measured: str
    met: bool | None
    """None: not run, and `measured` says why."""


class NotRun(Exception):
    """With the reason."""


def judge(results: Results) -> list[Goal]:
    """One Goal for each that there is, in the order of the table."""
    found = []
    for what, goal, look in _GOALS:
        try:
            measured, met = look(results)
        except NotRun as error:
            measured, met = str(error), None
        found.append(Goal(what, goal, measured, met))
    return found


def conclude(results: Results, path: Path) -> None:
    """Judges what there is, and keeps both."""
    results.goals = [asdict(goal) for goal in judge(results)]
    results.save(path)


def _row(results: Results, case: str, server: str, connections: int = 8) -> Row:
    row = results.row(case, server, connections)
    if row is None:
        key = case.partition("@")[0]
        raise NotRun(results.not_run.get(f"{key}/{server}") or results.not_run.get(key) or f"{server} is not in {case}")
    return row


def _fact(results: Results, case: str) -> Mapping[str, Any]:
    if case not in results.facts:
        raise NotRun(results.not_run.get(case, "not part of this run"))
    return results.facts[case]


def _ratio(case: str, other: str, least: float) -> Callable[[Results], tuple[str, bool]]:
    def look(results: Results) -> tuple[str, bool]:
        ours, theirs = _row(results, case, OURS), _row(results, case, other)
        found = ratio(ours, theirs)
        shown = f"{found:.0%}" if least < 1 else f"{found:.1f} x"
        return f"{shown} ({ours.rps:,.0f} : {theirs.rps:,.0f} requests/s)", found >= least

    return look


def _pyfunc(results: Results) -> tuple[str, bool]:
    own = float(_fact(results, "pyfunc")["own_compute_us"])
    ours, theirs = (1e6 / _row(results, "pyfunc", server).rps - own for server in (OURS, MLFLOW))
    found = theirs / max(ours, 1e-9)
    return f"{found:.1f} x ({theirs:,.0f} : {ours:,.0f} us a request beside its own {own:.0f})", found >= 5


def _p99(results: Results) -> tuple[str, bool]:
    ours = _row(results, "xgboost", OURS)
    theirs = [row for name in PEERS if (row := results.row("xgboost", name)) is not None]
    if not theirs:
        raise NotRun("no peer ran")
    best = min(theirs, key=lambda row: row.p99_ms)
    return f"{ours.p99_ms:.2f} ms; the best peer, {best.title}: {best.p99_ms:.2f} ms", ours.p99_ms <= best.p99_ms / 5


def _tail(results: Results) -> tuple[str, bool]:
    row = _row(results, "xgboost@half", OURS, 32)
    found = row.p999_ms / row.p50_ms
    return f"{found:.1f} ({row.p999_ms:.2f} : {row.p50_ms:.2f} ms at {row.rps:,.0f}/s)", found <= 10 and not row.failed


def _evenness(results: Results) -> tuple[str, bool]:
    found = _fact(results, "evenness")
    least, most = found["least_p99_ms"], found["most_p99_ms"]
    return f"{most / least:.1f} ({least:.2f} to {most:.2f} ms over {found['models']} models)", most <= 3 * least


def _bulkhead(results: Results) -> tuple[str, bool]:
    found = _fact(results, "bulkhead")
    alone, beside = found["alone_p99_ms"], found["beside_p99_ms"]
    said = f"{alone:.2f} ms alone, {beside:.2f} ms beside it ({found['rate']}/s, {found['failed']} failed); its own "
    said += f"{found['busy_callers']} callers wait {found['busy_p50_ms']:.0f} ms"
    return said, beside <= 1.5 * alone and not found["failed"]


def _activation(name: str, median: float, p99: float) -> Callable[[Results], tuple[str, bool]]:
    def look(results: Results) -> tuple[str, bool]:
        found = _fact(results, "wake").get(name)
        if not found:
            raise NotRun(f"no {name} model was scaled to zero")
        met = found["median_ms"] <= median and found["p99_ms"] <= p99
        return f"{found['median_ms']:.0f} / {found['p99_ms']:.0f} ms of {found['wakes']} activations", met

    return look


def _memory(results: Results) -> tuple[str, bool]:
    found = _fact(results, "memory")
    return f"{found['pss_mb']:.1f} MB, median of {found['models']}", found["pss_mb"] <= 25


def fleet_facts(results: Results) -> Mapping[str, Any]:
    """Of 200 models; a soak is the same and more. Raises NotRun."""
    return _fact(results, "soak" if "fleet" not in results.facts and "soak" in results.facts else "fleet")


def _fleet(results: Results) -> tuple[str, bool]:
    found = fleet_facts(results)
    said = f"{found['most_pss_mb'] / 1024:.2f} GiB at most"
    said += f" ({found['usual_pss_mb'] / 1024:.2f} usually)" if "usual_pss_mb" in found else ""
    said += f", {found['failed']} of {found['asked']:,} requests failed"
    said += f", {found['wrong']} wrong ({found['models']} models, {found['environments']} environments)"
    whole = found["models"] >= 200 and found["environments"] >= 8
    return said, whole and found["most_pss_mb"] <= 6 * 1024 and found["failed"] == found["wrong"] == 0


def _soak(results: Results) -> tuple[str, bool]:
    found = _fact(results, "soak")
    acts = ", ".join(f"{count} x {kind}" for kind, count in sorted(found["acts"].items()))
    said = f"{found['failed']} of {found['asked']:,} requests failed, {found['wrong']} answers wrong, memory x "
    said += f"{found['growth']:.2f} ({found['models']} models for {found['minutes']:g} minutes; {acts})"
    return said, bool(found["good"]) and found["models"] >= 200 and found["minutes"] >= 10


def _deploy(name: str, most: float) -> Callable[[Results], tuple[str, bool]]:
    def look(results: Results) -> tuple[str, bool]:
        found = _fact(results, "deploy")
        seconds = float(found[name])
        return f"{seconds:.1f} s (median of {found.get('times', 1)})", seconds <= most

    return look


def _switch(results: Results) -> tuple[str, bool]:
    found = _fact(results, "switch")
    said = (
        f"{found['effect_ms']:.0f} ms (median of {found['times']}), {found['failed']} failed at {found['rate']:,.0f}/s"
    )
    return said, found["effect_ms"] <= 200 and found["failed"] == 0 and found["rate"] >= 4900


def _cache(case: str) -> Callable[[Results], tuple[str, bool]]:
    def look(results: Results) -> tuple[str, bool]:
        hit, missed = _row(results, case, "serinus-cached"), _row(results, case, OURS)
        found = ratio(hit, missed)
        return f"{found:.2f} x ({hit.rps:,.0f} : {missed.rps:,.0f} requests/s)", found >= 1.5

    return look


def _tick(name: str, most: float, models: int, in_flight: int) -> Callable[[Results], tuple[str, bool]]:
    def look(results: Results) -> tuple[str, bool]:
        found = _fact(results, "control")
        mean = found[name]["mean_ms"]
        said = f"{mean:.1f} ms ({found[name]['median_ms']:.1f} median, {found[name]['most_ms']:.0f} at most"
        said += f"; load before {found['load_before']:.1f}"
        said += f"; {found['models']:,} models" + (f", {found['in_flight']} canaries)" if in_flight else ")")
        return said, mean <= most and found["models"] >= models and found["in_flight"] >= in_flight

    return look


def _import(results: Results) -> tuple[str, bool]:
    found = _fact(results, "outcomes")
    steps = {name: found[f"{name}_cpu_s"] for name in ("read", "receive", "attach", "figures")}
    said = f"{found['import_s']:.1f} s; processor time: "
    said += ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items())
    said += f" ({found['outcomes']:,} outcomes, {found['predictions']:,} predictions)"
    return said, found["import_s"] <= 30 and found["outcomes"] >= 1_000_000


def _looks(results: Results) -> tuple[str, bool]:
    found = _fact(results, "control")
    said = f"{found['status_ms']:.0f} ms, the whole page {found['page_ms']:.0f} ms"
    said += f" ({found['looked_at']} models, {found['rollouts']} rollouts)"
    return said, max(found["status_ms"], found["page_ms"]) <= 100 and found["rollouts"] >= 600


_GOALS: tuple[tuple[str, str, Callable[[Results], tuple[str, bool]]], ...] = (
    ("XGBoost, against the bare fast path", ">= 80 %", _ratio("xgboost", BARE, 0.8)),
    ("XGBoost, against mlflow models serve", ">= 100 x", _ratio("xgboost", MLFLOW, 100)),
    ("XGBoost, against KServe's Python server", ">= 6 x", _ratio("xgboost", KSERVE, 6)),
    ("scikit-learn pipeline, against mlflow models serve", ">= 100 x", _ratio("pipeline", MLFLOW, 100)),
    ("custom Python, its own compute taken off both", ">= 5 x mlflow models serve", _pyfunc),
    ("p99 at 8 connections", "<= 1/5 of the best peer's", _p99),
    ("p99.9 / p50 at half load", "<= 10", _tail),
    ("evenness of p99, 50 models at equal load", "<= 3", _evenness),
    ("one model is asked for more than it can answer: p99 of another", "<= 1.5 x", _bulkhead),
    ("activation of a compiled model, median / p99", "<= 50 / 150 ms", _activation("compiled", 50, 150)),
    ("activation of an uncompiled model, median / p99", "<= 150 / 300 ms", _activation("uncompiled", 150, 300)),
    ("memory of the worker of a compiled model beyond its zygote", "<= 25 MB PSS", _memory),
    ("200 models over 8 environments, Zipf load", "<= 6 GiB, none failed", _fleet),
    ("soak: 200 models, ten minutes, deployments, kills, rollbacks", "none failed, none wrong, memory flat", _soak),
    ("deploy to first canary request, environment there", "<= 5 s", _deploy("there_s", 5)),
    ("deploy to first canary request, warm wheel cache", "<= 15 s", _deploy("warm_s", 15)),
    ("a rollback takes effect", "<= 200 ms, none failed at 5,000/s", _switch),
    ("processor time of a tick of the engine, 1,000 models at rest", "<= 5 ms", _tick("rest", 5, 1000, 0)),
    ("the same with 50 canaries among them", "<= 100 ms", _tick("flight", 100, 1000, 50)),
    ("import of a million outcomes into a log of as many predictions", "<= 30 s", _import),
    ("processor time of the status with 600 rollouts", "<= 100 ms", _looks),
    ("answers from the cache, against the compiled pipeline's", ">= 1.5 x", _cache("cache")),
    ("answers from the cache, against the uncompiled pipeline's", ">= 1.5 x", _cache("cache-uncompiled")),
)
