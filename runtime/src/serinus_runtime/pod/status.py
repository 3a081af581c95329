"""Answers the probes of Kubernetes and the scrapes of Prometheus from the status of the pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from serinus_runtime.base.messages import Request, Response, error_response
from serinus_runtime.pod.release import Release

_TEXT = b"text/plain; charset=utf-8"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Serving:
    """A worker that serves."""

    waiting: int
    connections: int
    busy: float
    """The share of a processor that it uses."""
    memory_bytes: int


@dataclass(frozen=True)
class Status:
    release: Release
    way: str = ""
    """The way in which the model is called: see `Model.way`."""
    notes: Sequence[str] = ()
    started: bool = False
    """A worker has been ready."""
    terminating: bool = False
    hopeless: bool = False
    """No worker becomes ready, and the container is about to end."""
    reason: str = ""
    """The reason why the last worker ended or did not become ready."""
    wanted: int = 1
    serving: Sequence[Serving] = ()
    restarts: int = 0
    requests: int = 0
    """The number of requests since the start, as far as the workers have reported them."""
    cpu_seconds: float = 0.0
    landlock: int = 0
    """The ABI of the kernel's Landlock, or 0 if it has none."""
    collecting: int = 0
    """The number of workers that are connected to a collector."""


def page(request: Request, status: Status) -> Response:
    """Answers a request for `/startup`, `/ready`, `/live` or `/metrics`."""
    path = request.target.split(b"?", 1)[0]
    if path not in (b"/startup", b"/ready", b"/live", b"/metrics"):
        return error_response(404, "there is no such path; there are /startup, /ready, /live and /metrics")
    if request.method not in (b"GET", b"HEAD"):
        return error_response(405, "use GET for this path", b"allow: GET, HEAD\r\n")
    if path == b"/metrics":
        return Response(200, metrics(status).encode(), b"", _METRICS)
    why_not = {b"/startup": not_started, b"/ready": not_ready, b"/live": not_live}[path](status)
    return Response(503 if why_not else 200, f"{why_not or 'ok'}\n".encode(), b"", _TEXT)


def not_started(status: Status) -> str:
    """Returns the reason why it has not started, or an empty string."""
    if status.started:
        return ""
    return f"no worker has become ready: {status.reason}" if status.reason else "the first worker is starting"


def not_ready(status: Status) -> str:
    """Returns the reason why it is not ready, or an empty string."""
    if status.terminating:
        return "the pod is terminating"
    if not status.started:
        return not_started(status)
    return "" if status.serving else f"no worker is ready: {status.reason}"


def not_live(status: Status) -> str:
    """Returns the reason why it is not live, or an empty string. The answer itself shows that its event loop runs."""
    return f"no worker becomes ready: {status.reason}" if status.hopeless else ""


def metrics(status: Status) -> str:
    """Returns all metrics in the text format of Prometheus."""
    serving = status.serving
    in_flight = sum(worker.waiting + worker.busy for worker in serving)
    families = [
        ("workers", "gauge", "Workers that are ready.", len(serving)),
        ("workers_wanted", "gauge", "Workers that there shall be.", status.wanted),
        ("ready", "gauge", "1 if the pod is ready.", int(not not_ready(status))),
        ("restarts_total", "counter", "Workers that have died, or did not become ready.", status.restarts),
        ("requests_total", "counter", "Requests answered.", status.requests),
        ("requests_waiting", "gauge", "Requests that are read and wait for their turn.", _sum(serving, "waiting")),
        (
            "requests_in_flight",
            "gauge",
            "Requests that wait for their turn, and the mean number of those that are answered.",
            round(in_flight, 3),
        ),
        ("connections", "gauge", "Connections of callers.", _sum(serving, "connections")),
        ("cpu_seconds_total", "counter", "Processor time that the workers have used.", round(status.cpu_seconds, 2)),
        (
            "memory_bytes",
            "gauge",
            "Memory of the workers, with their shares of what several have.",
            _sum(serving, "memory_bytes"),
        ),
        (
            "collector_connections",
            "gauge",
            "Workers that are connected to a collector of prediction records.",
            status.collecting,
        ),
        ("landlock_abi", "gauge", "ABI of the kernel's Landlock; 0 if it has none.", status.landlock),
    ]
    labels = f'model="{_escaped(status.release.model)}",release="{_escaped(status.release.release)}"'
    lines = [
        f"# HELP serinus_pod_{name} {text}\n# TYPE serinus_pod_{name} {kind}\nserinus_pod_{name}{{{labels}}} {value}\n"
        for name, kind, text, value in families
    ]
    return "".join(lines)


def _sum(serving: Sequence[Serving], name: str) -> int:
    return sum(getattr(worker, name) for worker in serving)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
