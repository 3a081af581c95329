"""A rollout's document in words: what has changed, how far it is, why it ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from serinus.core.rollout import Cause, Phase, aborted_text
from serinus.core.routing import WHOLE

Document = Mapping[str, Any]

DOING = {
    "resolve": "resolve: reading the version's files",
    "build": "build: preparing the environment",
    "place": "place: starting a worker",
    "gates": "gates: checking the version before it gets traffic",
    "approval": "approval: waiting for a person other than the requester: `serinus approve {id}`",
    "promoting": "promoting: {reason}",
    "aborting": "aborting: {reason}",
    "retiring": "retiring: callers get HTTP 410, then its workers stop",
    "scaling": "scaling: changes scale only: applied without a canary",
}


WAYS = {"onnx": "ONNX graph", "matrix": "predict on a matrix", "direct": "direct predict", "mlflow": "MLflow predict"}


def served_by(way: str) -> str:
    """By what a release answers, as the host names it."""
    return WAYS.get(way, way)


def ended(rollout: Document) -> bool:
    return Phase(rollout["status"]["phase"]).ended


def promoted(rollout: Document) -> bool:
    return Phase(rollout["status"]["phase"]) is Phase.PROMOTED


def succeeded(rollout: Document) -> bool:
    return Phase(rollout["status"]["phase"]) in (Phase.PROMOTED, Phase.RETIRED, Phase.SCALED)


def share(weight: int) -> str:
    return f"{100 * weight / WHOLE:g}%"


def news(before: Document | None, after: Document) -> Iterator[str]:
    """What has become true between two looks, a line each."""
    known: Document = before or {"status": {"phase": "", "hold": ""}, "gates": [], "steps": [], "notes": []}
    yield from (f"note: {note}" for note in after["notes"][len(known["notes"]) :])
    yield from (gate_line(gate) for gate in after["gates"] if gate not in known["gates"])
    yield from _step_news(known["steps"], after)
    status = after["status"]
    if status["phase"] != known["status"]["phase"] and status["phase"] in DOING:
        yield DOING[status["phase"]].format(id=after["id"], reason=status["reason"])
    if status["hold"] and status["hold"] != known["status"]["hold"]:
        yield f"held: {status['hold']}"
    if ended(after) and status["phase"] != known["status"]["phase"]:
        yield end_line(after)


def gate_line(gate: Document) -> str:
    return f"gate {gate['gate']}: {gate['outcome']}: {gate['summary']}"


def _step_news(known: Sequence[Document], after: Document) -> Iterator[str]:
    for step in after["steps"]:
        was = next((k for k in known if k["index"] == step["index"]), None)
        name = f"canary {share(step['weight'])}"
        if was is None:
            plan = after["plan"]["steps"][step["index"]]
            yield f"{name}: at least {plan['minimum_requests']:,} requests and {plan['minimum_seconds']:g} s"
        closed = step["ended_at"] is not None and (was is None or was["ended_at"] is None)
        if closed and step["assessment"]:
            yield f"{name}: {step['assessment']['verdict']}: {step['assessment']['reason']}"


def end_line(rollout: Document) -> str:
    status = rollout["status"]
    asked = f"{rollout['model']}@{rollout['version']}"
    if promoted(rollout):
        release = f" as {rollout['candidate']['id']}" if rollout["candidate"] else ""
        return f"promoted: {asked} is champion{release}"
    if Phase(status["phase"]) is Phase.SCALED:
        return f"scaled: {asked} has its new scale"
    if succeeded(rollout):
        return f"retired: {rollout['model']} is out of service, and its callers get HTTP 410"
    return aborted_text(Cause(status["cause"]), status["reason"])


def answered(rollout: Document) -> int:
    """Requests that the canary has answered in its present step."""
    assessment = rollout["steps"][-1]["assessment"] if rollout["steps"] else None
    metrics = assessment["metrics"] if assessment else []
    return max((m["canary"]["of"] for m in metrics if m.get("canary")), default=0)


def progress_line(rollout: Document, now: datetime) -> str:
    """Of a canary step: `canary 5%: 1,200 of at least 2,000 requests, 22 of at least 30 s; about 4 minutes ...`."""
    step = rollout["steps"][-1]
    plan = rollout["plan"]["steps"][step["index"]]
    seconds = (now - datetime.fromisoformat(step["started_at"])).total_seconds()
    line = (
        f"canary {share(step['weight'])}: {answered(rollout):,} of at least {plan['minimum_requests']:,} requests, "
        f"{max(seconds, 0):.0f} of at least {plan['minimum_seconds']:g} s"
    )
    progress = rollout.get("progress")
    if progress and progress["text"]:
        return f"{line}; {progress['text']}"
    needs = step["assessment"]["needs"] if step["assessment"] else ""
    return f"{line}; needs {needs}" if needs else line


def metric_lines(metrics: Sequence[Document], progress: Document | None, *, evidence: bool) -> Iterator[str]:
    """Of each what was observed, tolerated and unacceptable, and what it still takes, until when; with `evidence` the
    line for statisticians."""
    for metric in metrics:
        left = progress["metrics"].get(metric["name"]) if progress else None
        yield f"{state(metric)}: {metric['summary']}{_still_takes(left)}"
        if evidence and "e_bad" in metric:
            yield f"  evidence: {statistics(metric)}"


def _still_takes(left: Document | None) -> str:
    if left is None:
        return ""
    if left["requests_left"] is None:
        return "; how many more requests it takes cannot be estimated yet"
    until = f", until {datetime.fromisoformat(left['clear_at']):%Y-%m-%d %H:%M} UTC" if left["clear_at"] else ""
    return f"; about {left['requests_left']:,} more canary requests to clear{until}"


def state(metric: Document) -> str:
    return "aborted" if metric["state"] == "bad" else str(metric["state"])  # as earlier versions stored it


def statistics(metric: Document) -> str:
    """Of a metric that is judged."""
    evidence: str | None = metric.get("evidence")
    return evidence or (  # stored by an earlier version
        f"against it {metric['e_bad']:,.3g} of {metric['bound_bad']:,.0f}, "
        f"for it {metric['e_good']:,.3g} of {metric['bound_good']:,.0f}"
    )


def metric_row(metric: Document) -> tuple[str, str, str, str, str]:
    """Name, state, canary, champion, evidence."""
    if "e_bad" not in metric:
        return metric["name"], state(metric), "", "", metric["summary"]
    return metric["name"], state(metric), _counts(metric["canary"]), _counts(metric["champion"]), statistics(metric)


def _counts(arm: Document | None) -> str:
    return f"{arm['events']:,} of {arm['of']:,}" if arm else ""


def ago(moment: str | float, now: datetime) -> str:
    """`moment`: ISO 8601, or seconds since the epoch."""
    then = datetime.fromtimestamp(moment, now.tzinfo) if isinstance(moment, float) else datetime.fromisoformat(moment)
    seconds = max((now - then).total_seconds(), 0)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def watch_lines(watch: Document) -> Iterator[str]:
    """Of a release that is watched after its promotion."""
    yield f"{watch['release']}: {watch['summary']}"
    yield from (f"  degraded: {line}" for line in watch["degraded"])
    yield from (f"  {metric['summary']}" for metric in watch["metrics"])
    yield from (f"  {name}: not watched, {why}" for name, why in watch["not_watched"].items())


def threshold_line(champion: Document, alerts: Document | None) -> str:
    """From which score on a row alerts, and how many do."""
    line = f"alert threshold {champion['threshold']:.6g}"
    if alerts is None:
        return f"{line}; no live requests are counted yet"
    between = f"{alerts['rate_low']:.2%} to {alerts['rate_high']:.2%}"
    return f"{line}; {alerts['rate']:.2%} of {alerts['rows']:,} live rows alerted (95%: {between})"


def rechecked_line(counts: Document) -> str:
    """Of answers that were compared with the model's own predict."""
    others = {
        "nondeterministic": "to which the model itself gives different answers",
        "unrepeated": "that differed only once",
        "failures": "rechecks to which the model gave no answer",
    }
    told = [f"{counts[name]:,} {text}" for name, text in others.items() if counts[name]]
    text = (
        f"{counts['compared']:,} answers compared with the model's own predict, {counts['differing']:,} of them wrong"
    )
    return "; ".join([text, *told])
