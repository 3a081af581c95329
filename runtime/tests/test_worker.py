"""A real worker process, as the host starts it: reports, answers, drains, and sends its records."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus_runtime.process.worker import libraries_beside

ROW = {"dataframe_split": {"columns": ["amount", "hour", "country"], "data": [[12.5, 3, "FR"]]}}
ROUTED = {"x-serinus-split": "s1", "x-serinus-role": "champion"}


class Collector:
    """The other end of the connections that a worker is handed: keeps batches by seq, acknowledges when told to."""

    def __init__(self) -> None:
        self.batches: dict[int, dict[str, Any]] = {}
        self.repeated = 0
        self.acknowledges = True
        self._streams: list[socket.socket] = []

    @property
    def records(self) -> list[dict[str, Any]]:
        """Of what is asked for here."""
        return [
            {"id": identity, "scores": scores, "inputs": json.loads(inputs)}
            for batch in list(self.batches.values())
            for identity, scores, inputs in zip(batch["id"], batch["scores"], batch["inputs"], strict=True)
        ]

    def connect(self, worker: Any) -> None:
        ours, theirs = socket.socketpair()
        self._streams.append(ours)
        threading.Thread(target=self._read, args=(ours,), daemon=True).start()
        worker.hand_in(theirs)

    def stop(self) -> None:
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()
        self._streams.clear()

    def _read(self, stream: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), stream.makefile("rb") as lines:
            while line := lines.readline():
                head = json.loads(line)
                batch = json.loads(lines.read(head["bytes"]))
                self.repeated += head["seq"] in self.batches
                self.batches[head["seq"]] = batch
                if self.acknowledges:
                    stream.sendall(b'{"ack":%d}\n' % head["seq"])


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def test_it_reports_ready_after_a_warm_up_and_answers(start_worker: Callable[..., Any], adds_up: Path) -> None:
    worker = start_worker(adds_up, with_mlflow=True)
    report = worker.wait_ready()
    assert report["confined"] is True
    assert report["warm_up_ms"] > 0
    assert report["load_seconds"] > 0
    assert report["memory_bytes"] > report["own_bytes"] > 1 << 20
    assert worker.client.get("/v2/health/live").json == {"live": True}
    answer = worker.client.invoke(ROW, {"x-request-id": "r-1"})
    assert answer.json == {"predictions": [15.5]}
    assert answer.headers["x-serinus-release"] == "fraud-1-abc123"
    assert answer.headers["x-request-id"] == "r-1"
    assert worker.client.get("/version").body.decode().count(".") == 2
    assert worker.stop() == 0


def test_a_body_over_the_releases_limit_is_a_413(start_worker: Callable[..., Any], adds_up: Path) -> None:
    worker = start_worker(adds_up, settings={"max_body_bytes": 500})
    worker.wait_ready()
    assert worker.client.invoke(b"x" * 501).status == 413
    assert worker.client.invoke(ROW).status == 200


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_library_that_is_not_there\n", "needs the module a_library_that_is_not_there"),
        ("raise RuntimeError('wrong at import')\n", "RuntimeError: wrong at import"),
        ("import sys; sys.exit(3)\n", "SystemExit"),
        (('data["amount"]', 'data["absent"]'), "does not answer its own input example: KeyError"),
        (("return data", "return numpy.float64(1) or data"), "one value instead of one for each row"),
    ],
)
def test_a_model_that_does_not_come_up_says_why(
    make_artifact: Callable[..., Path],
    adds_up_code: str,
    start_worker: Callable[..., Any],
    tmp_path: Path,
    code: str | tuple[str, str],
    reason: str,
) -> None:
    """`code`: a module, or what to change in one that works."""
    text = code if isinstance(code, str) else adds_up_code.replace(*code)
    worker = start_worker(make_artifact(tmp_path / "m", text))
    assert worker.report() == {"state": "loading"}
    report = worker.report()
    assert report["state"] == "failed"
    assert reason in report["reason"]
    assert worker.process.wait(10) == 1


def test_a_signature_of_columns_without_pandas_is_told_what_to_add(
    start_worker: Callable[..., Any], make_artifact: Callable[..., Path], tmp_path: Path, bare_python: str
) -> None:
    worker = start_worker(
        make_artifact(tmp_path / "m", "def _load_pyfunc(path): return type('M', (), {'predict': 1})"),
        python=bare_python,
    )
    worker.report()
    assert worker.report() == {
        "state": "failed",
        "reason": "the model's signature needs pandas; add it to the model's requirements",
    }


def test_a_score_output_that_the_model_does_not_have_is_refused_at_load(
    start_worker: Callable[..., Any], adds_up: Path
) -> None:
    worker = start_worker(adds_up, settings={"score_output": "probability"})
    worker.report()
    assert "no output 'probability'; the model answers: output-0" in worker.report()["reason"]


def test_a_model_without_example_or_signature_is_served_with_notes(
    adds_up_code: str, make_artifact: Callable[..., Path], start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    worker = start_worker(make_artifact(tmp_path / "m", adds_up_code, example=None, signature=False))
    report = worker.wait_ready()
    assert report["warm_up_ms"] is None
    assert any("without a signature" in note for note in report["notes"])
    assert any("no input example" in note for note in report["notes"])
    assert worker.client.invoke(ROW).json == {"predictions": [15.5]}


def test_a_model_that_exits_in_the_middle_of_a_request_takes_only_its_own_process(
    adds_up_code: str, make_artifact: Callable[..., Path], start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    code = adds_up_code.replace(
        "        return", "        import os\n        if data['amount'][0] == -31.25: os._exit(7)\n        return"
    )
    worker = start_worker(make_artifact(tmp_path / "m", code))
    worker.wait_ready()
    body = json.dumps({"instances": [[-31.25, 3, "FR"]]}).encode()
    request = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    assert worker.client.raw(request % (len(body), body)) == b""
    assert worker.process.wait(10) == 7


def test_every_answered_request_leaves_one_record_also_across_a_drain(
    start_worker: Callable[..., Any], adds_up: Path, collector: Collector
) -> None:
    worker = start_worker(adds_up, log=True)
    collector.connect(worker)
    worker.wait_ready()
    for i in range(120):
        assert worker.client.invoke(ROW, {**ROUTED, "x-request-id": f"r-{i}"}).status == 200
    assert worker.stop() == 0
    assert sorted(record["id"] for record in collector.records) == sorted(f"r-{i}" for i in range(120))
    assert collector.records[0]["scores"] == [15.5]
    assert collector.records[0]["inputs"] == [[12.5, 3, "FR"]]


def test_records_that_nobody_acknowledged_are_sent_again_under_their_numbers(
    wait_until: Callable[..., Any],
    start_worker: Callable[..., Any],
    adds_up: Path,
    collector: Collector,
) -> None:
    collector.acknowledges = False
    worker = start_worker(adds_up, log=True)
    worker.wait_ready()
    collector.connect(worker)
    worker.client.invoke(ROW, {**ROUTED, "x-request-id": "first"})
    wait_until(lambda: collector.records)
    collector.stop()
    worker.client.invoke(ROW, {**ROUTED, "x-request-id": "while-away"})
    collector.acknowledges = True
    collector.connect(worker)
    wait_until(lambda: {record["id"] for record in collector.records} == {"first", "while-away"})
    assert collector.repeated == 1
    assert worker.stop() == 0


def test_of_several_descriptors_one_is_taken_and_the_others_are_closed(
    wait_until: Callable[..., Any], start_worker: Callable[..., Any], adds_up: Path, collector: Collector
) -> None:
    worker = start_worker(adds_up, log=True, confine=False)  # so that an ordinary user may look at its descriptors
    worker.wait_ready()
    opened = Path(f"/proc/{worker.process.pid}/fd")
    before = len(list(opened.iterdir()))
    with socket.socket() as extra:
        for _ in range(3):
            ours, theirs = socket.socketpair()
            socket.send_fds(worker.wire, [b"\n"], [theirs.fileno(), *[extra.fileno()] * 20])
            theirs.close()
            ours.close()
    collector.connect(worker)
    worker.client.invoke(ROW, {**ROUTED, "x-request-id": "after-them"})
    wait_until(lambda: collector.records)
    assert [record["id"] for record in collector.records] == ["after-them"]
    worker.client.close()
    wait_until(lambda: len(list(opened.iterdir())) <= before + 1)


def test_serving_goes_on_without_a_collector_and_without_a_host(
    start_worker: Callable[..., Any], adds_up: Path
) -> None:
    worker = start_worker(adds_up, log=True)
    worker.wait_ready()
    worker.leave()
    for _ in range(5):
        assert worker.client.invoke(ROW, ROUTED).status == 200
    worker.client.close()
    assert worker.stop() == 0
    assert "were not acknowledged" in worker.log.read_text()


def test_sigterm_lets_a_kept_connection_have_its_last_answer(
    wait_until: Callable[..., Any], start_worker: Callable[..., Any], adds_up: Path
) -> None:
    worker = start_worker(adds_up)
    worker.wait_ready()
    assert worker.client.invoke(ROW).headers.get("connection") is None
    os.kill(worker.process.pid, signal.SIGTERM)
    answer = wait_until(lambda: worker.client.invoke(ROW))
    assert answer.status == 200
    wait_until(lambda: worker.process.poll() is not None)
    assert worker.process.returncode == 0


def test_an_environment_without_mlflow_is_told_what_to_add(
    adds_up_code: str,
    make_artifact: Callable[..., Path],
    start_worker: Callable[..., Any],
    tmp_path: Path,
    bare_python: str,
) -> None:
    artifact = make_artifact(tmp_path / "m", adds_up_code)
    mlmodel = json.loads((artifact / "MLmodel").read_text())
    mlmodel["flavors"]["python_function"]["loader_module"] = "mlflow.sklearn"
    (artifact / "MLmodel").write_text(json.dumps(mlmodel))
    worker = start_worker(artifact, python=bare_python)
    assert worker.report() == {"state": "loading"}
    report = worker.report()
    assert report["state"] == "failed"
    assert "add mlflow to the model's requirements" in report["reason"], report


def test_a_forked_worker_names_only_the_modules_that_it_has_imported_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    for name in ("came_before", "came_first", "came_second"):
        (packages / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(packages)
    importlib.import_module("came_before")
    there = next(reversed(sys.modules))
    importlib.import_module("came_first")
    importlib.import_module("came_second")
    assert libraries_beside(since=there) == ["came_first", "came_second"]
    assert [name for name in libraries_beside() if name.startswith("came_")] == [
        "came_before",
        "came_first",
        "came_second",
    ]
