"""What a pod decides and says, by values alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serinus_runtime.base.messages import Request, Response
from serinus_runtime.pod.looks import at_work, to_shed
from serinus_runtime.pod.release import Release
from serinus_runtime.pod.restarts import MOST_FAILED_STARTS, Restarts
from serinus_runtime.pod.status import Serving, Status, metrics, page
from serinus_runtime.pod.worker import words

RELEASE = Release("fraud-1-abc123", "fraud", "1")
SERVING = Serving(waiting=2, connections=3, busy=0.25, memory_bytes=1000)


def asked(path: str, status: Status, method: bytes = b"GET") -> Response:
    return page(Request(method, path.encode(), {}, True), status)


@pytest.mark.parametrize(
    ("status", "startup", "ready", "live"),
    [
        (Status(RELEASE), "the first worker is starting", "the first worker is starting", ""),
        (
            Status(RELEASE, reason="no module"),
            "no worker has become ready: no module",
            "no worker has become ready: no module",
            "",
        ),
        (Status(RELEASE, started=True, serving=[SERVING]), "", "", ""),
        (Status(RELEASE, started=True, reason="it died"), "", "no worker is ready: it died", ""),
        (Status(RELEASE, started=True, serving=[SERVING], terminating=True), "", "the pod is terminating", ""),
        (
            Status(RELEASE, reason="x", hopeless=True),
            "no worker has become ready: x",
            "no worker has become ready: x",
            "no worker becomes ready: x",
        ),
    ],
)
def test_each_probe_says_why_not(status: Status, startup: str, ready: str, live: str) -> None:
    for path, why in (("/startup", startup), ("/ready", ready), ("/live", live)):
        answer = asked(path, status)
        assert (answer.status, answer.body.decode()) == (503 if why else 200, f"{why or 'ok'}\n"), path


def test_other_pages_and_methods_are_refused() -> None:
    assert asked("/", Status(RELEASE)).status == 404
    assert asked("/ready", Status(RELEASE), b"POST").status == 405
    assert asked("/live?x=1", Status(RELEASE), b"HEAD").status == 200


def test_metrics_are_of_this_release_and_hold_what_the_workers_report() -> None:
    status = Status(
        Release('a"b\\c', "fraud", "1"), started=True, wanted=2, serving=[SERVING, SERVING], restarts=4, requests=9
    )
    lines = dict(line.rsplit(" ", 1) for line in metrics(status).splitlines() if not line.startswith("#"))
    labels = '{model="fraud",release="a\\"b\\\\c"}'
    assert {name.removesuffix(labels): float(value) for name, value in lines.items()} == {
        "serinus_pod_workers": 2, "serinus_pod_workers_wanted": 2, "serinus_pod_ready": 1,
        "serinus_pod_restarts_total": 4, "serinus_pod_requests_total": 9, "serinus_pod_requests_waiting": 4,
        "serinus_pod_requests_in_flight": 4.5, "serinus_pod_connections": 6, "serinus_pod_cpu_seconds_total": 0,
        "serinus_pod_memory_bytes": 2000, "serinus_pod_landlock_abi": 0, "serinus_pod_collector_connections": 0,
    }  # fmt: skip


def test_the_metrics_are_in_prometheus_own_format() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    families = list(text_string_to_metric_families(metrics(Status(RELEASE, serving=[SERVING]))))
    assert len(families) == 12
    assert all(family.documentation.endswith(".") and family.samples for family in families)


def test_pauses_double_and_a_worker_that_has_served_long_is_replaced_at_once() -> None:
    restarts = Restarts()
    pauses = []
    for now in range(0, 500, 50):
        restarts.died(1.0, now)
        pauses.append(round(restarts.not_before - now, 3))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    restarts.died(60.0, 1000.0)
    assert restarts.not_before == 1000.0
    restarts.died(1.0, 2000.0)
    assert restarts.not_before == 2000.1
    assert restarts.count == 12
    assert not restarts.hopeless


def test_after_failed_starts_in_a_row_there_is_no_hope() -> None:
    restarts = Restarts()
    for _ in range(MOST_FAILED_STARTS - 1):
        restarts.start_failed(0.0)
    restarts.ready()
    for _ in range(MOST_FAILED_STARTS - 1):
        restarts.start_failed(0.0)
        assert not restarts.hopeless
    restarts.start_failed(0.0)
    assert restarts.hopeless


@pytest.mark.parametrize(
    ("reported", "busy", "is_at_work"),
    [(False, 0.0, False), (False, 0.01, False), (True, 0.0, True), (False, 0.5, True)],
)
def test_a_worker_that_reports_or_computes_is_at_work(reported: bool, busy: float, is_at_work: bool) -> None:
    assert at_work(reported, busy) is is_at_work


@pytest.mark.parametrize(
    ("connections", "shed"),
    [([], None), ([50], None), ([2, 0], None), ([3, 0], 0), ([0, 5], 1), ([20, 9], None), ([8, 23, 9], 1)],
)
def test_the_worker_with_far_more_connections_than_another_sheds_half_of_them(
    connections: list[int], shed: int | None
) -> None:
    assert to_shed(connections) == shed


def test_words_of_others_are_one_line_that_no_terminal_obeys() -> None:
    assert words("a\n  b\x1b[2J\u202e\ud800 é") == "a b\\x1b[2J\\u202e\\ud800 \\xe9"
    assert len(words("x" * 100_000)) == 2000


def test_the_supervisor_imports_nothing_of_the_environment_and_no_code_that_serves() -> None:
    source = Path(__file__).resolve().parent.parent / "src"
    code = (
        f"import sys; sys.path.append({str(source)!r}); import serinus_runtime.pod.main; "
        "print(*sorted(n for n in sys.modules if n.startswith('serinus_runtime.')))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in done.stdout.split()}
    assert rooms <= {"base", "http", "isolation", "pod", "process"}, done.stdout
    assert "serinus_runtime.process.worker" not in done.stdout.split()
