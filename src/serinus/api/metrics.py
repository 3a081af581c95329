"""Prometheus metrics of the fleet. They are derived at each scrape, and nothing is counted here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serinus.core.evidence import Totals
from serinus.core.rollout import Phase
from serinus.resources import Distrusted, Fleet, Model, Process, RecheckedRelease

_PHASES = [phase.value for phase in Phase if not phase.ended]


def exposition(fleet: Fleet) -> bytes:
    """Returns the metrics in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(fleet))
    return generate_latest(registry)


class _Status(Collector):
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        yield from _totals(self._fleet.totals)
        yield from _rechecked(self._fleet.rechecked, self._fleet.distrusted)
        yield from _traffic(self._fleet.models)
        yield from _models(self._fleet.models)
        yield from _watches(self._fleet.models)
        yield from _outcomes(self._fleet.models)
        yield from _processes(self._fleet.processes)
        warnings = GaugeMetricFamily("serinus_warnings", "Number of warnings in the status.")
        warnings.add_metric([], len(self._fleet.warnings))
        yield warnings


_TOTALS = {
    "requests": "Requests answered by the release, or by the router in its place.",
    "errors": "Requests that failed: HTTP 5xx, timeouts, and fallbacks after either.",
    "fallbacks": "Requests answered by the fallback.",
    "cached": "Requests answered by the response cache.",
    "dropped": "Records of answered requests that were dropped because there was no room for them.",
}


def _totals(totals: Iterable[Totals]) -> Iterator[Metric]:
    """Counters of each release since its first request, across restarts."""
    labels = ["model", "release"]
    families = {name: CounterMetricFamily(f"serinus_{name}", text, labels=labels) for name, text in _TOTALS.items()}
    for one in totals:
        for name, family in families.items():
            family.add_metric([one.model, one.release], getattr(one, name))
    yield from families.values()


_RECHECKED = {
    "compared": "Answers of a shorter way that were compared with those of the model's own predict.",
    "differing": "Compared answers in which the shorter way was wrong.",
    "nondeterministic": "Compared answers to which the model itself gives different answers.",
    "unrepeated": "Compared answers that differed once, but not when the release was asked again.",
    "failures": "Comparisons for which the model's own predict gave no answer.",
}


def _rechecked(counts: Iterable[RecheckedRelease], distrusted: Iterable[Distrusted]) -> Iterator[Metric]:
    """Counters of each release since its first recheck, across restarts."""
    labels = ["model", "release"]
    for name, text in _RECHECKED.items():
        family = CounterMetricFamily(f"serinus_recheck_{name}", text, labels=labels)
        for one in counts:
            family.add_metric([one.model, one.release], getattr(one, name))
        yield family
    gauge = GaugeMetricFamily(
        "serinus_distrusted", "1 if a shorter way of the release has answered wrong.", labels=labels
    )
    for mark in distrusted:
        gauge.add_metric([mark.model, mark.release], 1)
    yield gauge


def _traffic(models: Iterable[Model]) -> Iterator[Metric]:
    """Gauges over a sliding window."""
    labels = ["model", "release", "role"]
    requests = GaugeMetricFamily("serinus_recent_requests", "Requests answered within the window.", labels=labels)
    errors = GaugeMetricFamily("serinus_recent_errors", "Requests within the window that failed.", labels=labels)
    window = GaugeMetricFamily("serinus_recent_window_seconds", "Length of the window.", labels=labels)
    latency = GaugeMetricFamily(
        "serinus_recent_latency_seconds", "Latency within the window, by quantile.", labels=[*labels, "quantile"]
    )
    for model in models:
        for traffic in model.traffic:
            where = [model.model, traffic.release, _role(model, traffic.release)]
            requests.add_metric(where, traffic.requests)
            errors.add_metric(where, traffic.errors)
            window.add_metric(where, traffic.seconds)
            for quantile, milliseconds in (("0.5", traffic.p50_ms), ("0.99", traffic.p99_ms)):
                if milliseconds is not None:
                    latency.add_metric([*where, quantile], milliseconds / 1000)
    yield from (requests, errors, window, latency)


def _role(model: Model, release: str) -> str:
    if model.champion and model.champion.release == release:
        return "champion"
    return "canary" if model.rollout and model.rollout.release == release else "former"


def _models(models: Iterable[Model]) -> Iterator[Metric]:
    champion = GaugeMetricFamily(
        "serinus_champion_info", "1 for the release that is live.", labels=["model", "release", "version"]
    )
    trouble = GaugeMetricFamily("serinus_model_trouble", "1 if something is wrong with the model.", labels=["model"])
    phases = GaugeMetricFamily("serinus_rollouts_in_flight", "Rollouts in flight, by phase.", labels=["model", "phase"])
    for model in models:
        trouble.add_metric([model.model], float(model.state == "trouble"))
        if model.champion:
            champion.add_metric([model.model, model.champion.release, model.champion.version], 1)
        now = model.rollout.phase if model.rollout else None
        for phase in _PHASES:
            phases.add_metric([model.model, phase], float(phase == now))
    yield from (champion, trouble, phases)


def _watches(models: Iterable[Model]) -> Iterator[Metric]:
    """Metrics of champions that are watched after their promotion."""
    labels = ["model", "release"]
    until = GaugeMetricFamily(
        "serinus_watch_until_timestamp_seconds",
        "Time at which the watch of the champion ends, in seconds since the epoch.",
        labels=labels,
    )
    degraded = GaugeMetricFamily(
        "serinus_watch_degraded", "1 if the release has degraded since its promotion.", labels=labels
    )
    for model in models:
        if watch := model.watch:
            where = [model.model, watch.release]
            until.add_metric(where, watch.until.timestamp())
            degraded.add_metric(where, float(bool(watch.degraded)))
    yield from (until, degraded)


_OUTCOMES = {
    "labelled": "Predictions of the champion that have an outcome.",
    "frauds": "Predictions with an outcome that were frauds.",
    "alerts": "Predictions with an outcome that alerted.",
    "caught": "Predictions with an outcome that were frauds and alerted.",
}


def _outcomes(models: Iterable[Model]) -> Iterator[Metric]:
    """Metrics of the champion's matured predictions, and of younger ones."""
    labels = ["model", "release", "maturity"]
    counts = {
        name: GaugeMetricFamily(f"serinus_outcomes_{name}", text, labels=labels) for name, text in _OUTCOMES.items()
    }
    recall = GaugeMetricFamily("serinus_outcomes_recall", "Share of the frauds that alerted.", labels=labels)
    precision = GaugeMetricFamily("serinus_outcomes_precision", "Share of the alerts that were frauds.", labels=labels)
    for model in models:
        if (figures := model.outcomes) is None or figures.release is None:
            continue
        for maturity, found in (("matured", figures.matured), ("young", figures.young)):
            if found is None:
                continue
            where = [model.model, figures.release, maturity]
            for name, family in counts.items():
                family.add_metric(where, getattr(found, name))
            for family, share in ((recall, found.recall), (precision, found.precision)):
                if share is not None:
                    family.add_metric(where, share.share)
    yield from (*counts.values(), recall, precision)


def _processes(processes: Iterable[Process]) -> Iterator[Metric]:
    up = GaugeMetricFamily("serinus_process_up", "1 if the process is running.", labels=["process"])
    restarts = CounterMetricFamily("serinus_process_restarts", "Number of restarts.", labels=["process"])
    for process in processes:
        up.add_metric([process.name], float(process.state == "running"))
        restarts.add_metric([process.name], process.restarts)
    yield from (up, restarts)
