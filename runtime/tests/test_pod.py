"""A real pod: its life from the first probe to its end, and what it answers."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from descent import alive, descendants
from pods import ALIKE, ROW, SOURCE, Answered, Caller, RunningPod, children, environment_of, hold, until
from tritonclient.grpc import service_pb2

pytestmark = [pytest.mark.timeout(120), pytest.mark.long]

StartPod = Callable[..., RunningPod]

SLOW_TO_LOAD = """
import pathlib, time

class Model:
    def predict(self, data, params=None):
        return data["amount"].to_numpy(dtype="float64")

def _load_pyfunc(path):
    time.sleep(1.5)
    return Model()
"""

ORDERS = """
import mmap, os, time

HELD = []

def _work(seconds):
    time.sleep(seconds)

def _obey(order):
    # A country, so that no row with which a shorter way is proven is an order.
    what, _, much = str(order).partition(" ")
    if what == "work":
        _work(float(much))
    elif what == "hold":
        HELD.append(mmap.mmap(-1, int(much)))
        for _ in range(int(much) >> 20):
            HELD[-1].write(b"x" * (1 << 20))
    elif what == "exit":
        os._exit(int(much))
    elif what == "leave":
        for _ in range(int(much)):
            if os.fork() == 0:
                os.setsid()
                if os.fork():
                    os._exit(0)
                time.sleep(600)
                os._exit(0)

class Model:
    def predict(self, data, params=None):
        _obey(data["country"].iloc[0])
        return [float(os.getpid())] * len(data)

def _load_pyfunc(path):
    return Model()
"""
"""Answers with its pid, and does what the country of a row says."""


def order(what: str) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["amount", "hour", "country"], "data": [[12.5, 3, what]]}}


def who(caller: Caller, what: str = "FR") -> int:
    answer = caller.invoke(order(what))
    assert answer.status == 200, answer.text
    return int(answer.json["predictions"][0])


@pytest.fixture
def obedient(make_artifact: Callable[..., Path], tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "obedient", ORDERS)


def test_it_answers_as_a_worker_on_one_machine_bit_for_bit(
    start_pod: StartPod, start_worker: Callable[..., Any], adds_up: Path
) -> None:
    worker, pod = start_worker(adds_up), start_pod(adds_up)
    worker.wait_ready()
    caller = pod.wait_ready().caller()
    tensors = [
        {"name": "amount", "shape": [2], "datatype": "FP64", "data": [0.1, 7]},
        {"name": "hour", "shape": [2], "datatype": "INT64", "data": [3, 4]},
        {"name": "country", "shape": [2], "datatype": "BYTES", "data": ["FR", "DE"]},
    ]
    message = service_pb2.ModelInferRequest(model_name="fraud", id="i")
    for name, datatype, field, value in (
        ("amount", "FP64", "fp64_contents", 0.1), ("hour", "INT64", "int64_contents", 3),
        ("country", "BYTES", "bytes_contents", b"FR"),
    ):  # fmt: skip
        tensor = message.inputs.add(name=name, datatype=datatype, shape=[1])
        getattr(tensor.contents, field).append(value)
    grpc = message.SerializeToString()
    asked: list[tuple[str, str, Any, dict[str, str]]] = [
        ("POST", "/invocations", ROW, {"content-type": "application/json"}),
        ("POST", "/invocations", b"amount,hour,country\n0.1,3,FR\n", {"content-type": "text/csv"}),
        ("POST", "/invocations", {"nonsense": 1}, {"content-type": "application/json"}),
        ("POST", "/v2/models/fraud/infer", {"id": "i", "inputs": tensors}, {}),
        ("POST", "/inference.GRPCInferenceService/ModelInfer", b"\0" + struct.pack(">I", len(grpc)) + grpc,
         {"content-type": "application/grpc"}),
        ("GET", "/v2/models/fraud", None, {}),
        ("GET", "/v2/health/ready", None, {}),
        ("GET", "/nowhere", None, {}),
    ]  # fmt: skip
    for method, path, body, headers in asked:
        ours, theirs = caller.request(method, path, body, headers), worker.client.request(method, path, body, headers)
        assert (ours.status, ours.body) == (theirs.status, theirs.body), path
    assert b"12.5" not in caller.invoke().body
    assert caller.invoke().json == {"predictions": [15.5]}


def test_its_probes_tell_its_life(start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path) -> None:
    pod = start_pod(make_artifact(tmp_path / "model", SLOW_TO_LOAD))
    for path in ("/startup", "/ready"):
        answer = pod.probe(path)
        assert (answer.status, answer.text) == (503, "the first worker is starting\n")
    assert pod.probe("/live").status == 200
    pod.wait_ready()
    assert [pod.probe(path).status for path in ("/startup", "/ready", "/live")] == [200] * 3
    assert pod.metric("ready") == 1
    with hold(pod.ports[0]) as kept:
        kept.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        pod.terminate()
        until(lambda: pod.probe("/ready").status == 503)
        assert pod.probe("/ready").text == "the pod is terminating\n"
        assert [pod.probe(path).status for path in ("/startup", "/live")] == [200] * 2
    assert pod.process.wait(10) == 0
    assert pod.message.read_text() == ""


def test_it_listens_for_both_versions_of_ip(start_pod: StartPod, adds_up: Path) -> None:
    pod = start_pod(adds_up).wait_ready()
    assert pod.caller("127.0.0.1").invoke().status == 200
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
        assert pod.caller("::1").invoke().status == 200


def test_it_asks_for_the_routers_key(start_pod: StartPod, adds_up: Path) -> None:
    caller = start_pod(adds_up, router="k3y").wait_ready().caller()
    assert caller.invoke().status == 401
    headers = {"content-type": "application/json", "x-serinus-router": "k3y"}
    assert caller.request("POST", "/invocations", ROW, headers).status == 200


def test_all_workers_answer_and_are_forked_from_one_process_that_shares_their_libraries(
    start_pod: StartPod, obedient: Path
) -> None:
    """The first one brings the libraries, and is replaced when the others share them."""
    pod = start_pod(obedient, workers=3).wait_ready(3).settled(3)
    zygote = pod.zygote()
    assert zygote is not None
    assert os.geteuid() != 0 or "numpy" in Path(f"/proc/{zygote}/maps").read_text()
    callers = [pod.caller() for _ in range(40)]
    for caller in callers:
        caller.connect()
    assert {who(caller) for caller in callers} == set(pod.workers())
    assert pod.metric("restarts_total") == 0
    assert pod.metric("workers_wanted") == 3


@pytest.fixture
def starts_threads(tmp_path: Path) -> Path:
    """An environment with a package that starts a thread when it is imported."""
    environment = environment_of(tmp_path / "threaded", ALIKE)
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    (_site(environment) / "starts_threads.py").write_text(code)
    return environment


def _site(environment: Path) -> Path:
    return next(environment.glob("lib/*/site-packages"))


def test_where_there_can_be_no_zygote_workers_are_interpreters_of_their_own(
    start_pod: StartPod, adds_up: Path, starts_threads: Path
) -> None:
    (_site(starts_threads) / "starts.pth").write_text("import starts_threads\n")
    pod = start_pod(adds_up, environment=starts_threads, workers=2).wait_ready(2)
    assert "its libraries start threads when they are imported" in pod.log
    assert pod.zygote() is None
    victim = pod.workers()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in pod.workers() and len(pod.workers()) == 2)
    assert pod.wait_ready(2).caller().invoke().json == {"predictions": [15.5]}
    assert pod.stop() == 0


def test_a_library_of_the_model_that_starts_threads_is_not_imported_by_the_zygote(
    start_pod: StartPod, make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path, starts_threads: Path
) -> None:
    artifact = make_artifact(tmp_path / "model", "import starts_threads\n" + adds_up_code)
    pod = start_pod(artifact, environment=starts_threads, workers=2).wait_ready(2).settled(2)
    assert "its libraries start threads when they are imported" in pod.log
    assert pod.zygote() is not None
    assert pod.caller().invoke().json == {"predictions": [15.5]}
    assert pod.metric("restarts_total") == 0


def test_requests_in_flight_are_in_the_metrics(start_pod: StartPod, obedient: Path) -> None:
    pod = start_pod(obedient, settings={"timeout_ms": 60_000}).wait_ready()
    callers = [pod.caller() for _ in range(8)]
    for caller in callers:
        who(caller, "work 0.1")  # so that all are connected, and the worker knows that they take long
    threads = [threading.Thread(target=who, args=(caller, "work 0.6")) for caller in callers]
    for thread in threads:
        thread.start()
    until(lambda: pod.metric("requests_waiting") >= 2)
    assert pod.metric("requests_in_flight") >= 1
    for thread in threads:
        thread.join()
    until(lambda: pod.metric("requests_total") >= 16)
    until(lambda: pod.metric("connections") == 8)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced_and_only_what_it_was_at_fails(
    start_pod: StartPod, adds_up: Path, workers: int
) -> None:
    pod = start_pod(adds_up, workers=workers).wait_ready(workers).settled(workers)
    victim = pod.workers()[0]
    failed, answered = _load(pod, 1.5, lambda: os.kill(victim, signal.SIGKILL))
    assert answered > 50
    assert len(failed) <= 4, failed  # at most what each of the four callers had in flight
    pod.wait_ready(workers)
    assert victim not in pod.workers()
    assert pod.metric("restarts_total") == 1
    assert "a worker ended while serving: killed by SIGKILL" in pod.log


def test_a_killed_zygote_is_replaced_and_nobody_notices(start_pod: StartPod, adds_up: Path) -> None:
    pod = start_pod(adds_up).wait_ready()
    before, worker = pod.zygote(), pod.workers()
    failed, answered = _load(pod, 1.5, lambda: os.kill(before, signal.SIGKILL))
    assert (failed, answered > 50) == ([], True)
    until(lambda: pod.zygote() not in (None, before))
    until(lambda: pod.workers() and pod.workers() != worker)  # it shares its libraries with the new one
    assert pod.metric("restarts_total") == 0


ZYGOTES_DIE = f"""
import sys; sys.path.append({str(SOURCE)!r})
import time
from serinus_runtime.pod import launch, supervisor, zygotes

supervisor._LOOK = 3600.0
launch._ENTRY = launch._ENTRY.replace("main()", '''
import os, signal
from serinus_runtime.process import zygote
tell = zygote.tell
zygote.tell = lambda control, **said: os.kill(os.getpid(), signal.SIGKILL) if "left" in said else tell(control, **said)
main()
''')
answer = zygotes.Zygote._answer

async def late(self, seconds):
    if seconds == zygotes._FORK_SECONDS:
        time.sleep(1.5)
    return await answer(self, seconds)

zygotes.Zygote._answer = late
from serinus_runtime.pod.main import main; main()
"""
"""A supervisor whose zygotes are killed when they have forked a worker and not said so. It sees the end of a zygote and
of its connection at once, because it is so late that the worker has reported that it is ready. It does not look for
orphans from time to time."""


def test_a_worker_whose_zygote_is_killed_while_it_is_forked_serves_nobody(start_pod: StartPod, adds_up: Path) -> None:
    """It would be ended with the requests that it has by then. What it has reported is not taken for a report of the
    next one."""
    pod = start_pod(adds_up, entry=ZYGOTES_DIE)
    until(lambda: any("process.worker" in _command(pid) for pid in children(pod.process.pid)), said=lambda: pod.log)
    assert "the zygote forks no more: the zygote is gone" in pod.log
    until(lambda: len(children(pod.process.pid)) == 1)
    assert pod.wait_ready().caller().invoke().json == {"predictions": [15.5]}
    assert "did not become ready" not in pod.log


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:  # it has ended
        return ""


def test_while_no_worker_comes_up_callers_are_answered_and_then_served_again(
    start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    broken = tmp_path / "model" / "broken"
    load = "    if pathlib.Path(path, 'broken').exists():\n        raise ValueError('broken')\n    return Model()"
    artifact = make_artifact(tmp_path / "model", "import pathlib\n" + ORDERS.replace("    return Model()", load))
    pod = start_pod(artifact).wait_ready()
    broken.touch()
    with pytest.raises(ConnectionError):
        who(pod.caller(), "exit 3")

    def refused() -> Answered | None:
        answer = pod.caller().invoke(order("FR"))
        return answer if answer.status == 503 else None

    answer = until(refused)
    broken.unlink()
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json == {"error": "the release does not come up; see its status"}
    assert pod.probe("/ready").text.startswith("no worker is ready: ValueError: broken")
    assert pod.probe("/live").status == 200
    assert who(pod.wait_ready().caller()) == pod.workers()[0]


def test_while_a_worker_is_away_for_longer_new_callers_come_to_the_others(start_pod: StartPod, adds_up: Path) -> None:
    pod = start_pod(adds_up, workers=2).wait_ready(2).settled(2)
    stays, victim = pod.workers()
    for _ in range(4):  # the next one comes 0.1, 0.2, 0.4 and 0.8 s later
        until(lambda: len(pod.workers()) == 2)
        os.kill(next(pid for pid in pod.workers() if pid != stays), signal.SIGKILL)
        until(lambda: pod.workers() == [stays])
    until(lambda: pod.log.count("killed by SIGKILL") == 4)
    began = time.monotonic()
    assert [_failure(pod.caller()) for _ in range(20)] == [""] * 20
    assert time.monotonic() - began < 0.6, "somebody has waited for the next worker"
    assert victim not in pod.wait_ready(2).workers()


@pytest.mark.long
def test_a_hung_worker_is_replaced_and_a_busy_one_is_not(
    start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    busy = "    end = time.monotonic() + seconds\n    while time.monotonic() < end:\n        pass\n"
    artifact = make_artifact(tmp_path / "model", ORDERS.replace("    time.sleep(seconds)\n", busy))
    pod = start_pod(artifact, hang_seconds=5, settings={"timeout_ms": 60_000}).wait_ready()
    worker = pod.workers()[0]
    assert who(pod.caller(), "work 7") == worker
    assert pod.probe("/live").status == 200
    os.kill(worker, signal.SIGSTOP)
    until(lambda: pod.workers() not in ([], [worker]))
    assert "a worker was killed because it did nothing for" in pod.log
    assert who(pod.caller()) == pod.workers()[0]


def test_a_worker_beyond_its_memory_is_replaced(start_pod: StartPod, obedient: Path) -> None:
    pod = start_pod(obedient, memory_limit_bytes=400 << 20, settings={"timeout_ms": 60_000}).wait_ready()
    worker = pod.workers()[0]
    assert 10 << 20 < pod.metric("memory_bytes") < 400 << 20
    who(pod.caller(), f"hold {400 << 20}")
    until(lambda: pod.workers() not in ([], [worker]))
    assert "beyond its limit of 400 MiB" in pod.log
    assert pod.probe("/live").status == 200


def test_what_a_worker_leaves_is_ended_and_reaped(start_pod: StartPod, obedient: Path) -> None:
    pod = start_pod(obedient).wait_ready()
    worker = who(pod.caller(), "leave 3")
    with pytest.raises(ConnectionError):
        who(pod.caller(), "exit 3")
    until(lambda: pod.workers() not in ([], [worker]))
    until(lambda: len(children(pod.process.pid)) == 2)  # the zygote and the worker
    assert "a worker ended while serving: exited with 3" in pod.log


def _failure(caller: Caller) -> str:
    """How a request failed; empty: it was answered rightly. A connection that was closed is opened anew."""
    try:
        answer = caller.invoke()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    right = answer.status == 200 and answer.json == {"predictions": [15.5]}
    return "" if right else f"{answer.status} {answer.text}"


def _refuses(port: int) -> bool:
    try:
        hold(port).close()
    except ConnectionRefusedError:
        return True
    return False


def _load(pod: RunningPod, seconds: float, meanwhile: Callable[[], Any]) -> tuple[list[str], int]:
    """Four callers, two of which keep their connections; how requests failed, and how many did not."""
    failed: list[str] = []
    answered = [0] * 4
    end = time.monotonic() + seconds

    def ask(number: int) -> None:
        caller = pod.caller()
        while time.monotonic() < end:
            if failure := _failure(caller):
                failed.append(failure)
            else:
                answered[number] += 1
                if number % 2 == 0:
                    continue
            caller.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 3)
    meanwhile()
    for thread in threads:
        thread.join()
    return failed, sum(answered)


class TestAtItsEnd:
    def test_no_request_fails_while_pods_come_and_go(self, start_pod: StartPod, adds_up: Path) -> None:
        """Callers go to whoever is ready, as they do behind endpoints: with kept connections, and with new ones."""
        pods = [start_pod(adds_up, accept_seconds=1.0).wait_ready() for _ in range(2)]
        targets = [pod.ports[0] for pod in pods]
        failed: list[str] = []
        answered = [0] * 4
        stop = threading.Event()

        def ask(number: int) -> None:
            port, caller = 0, Caller(0)
            while not stop.is_set():
                wanted = targets[number % len(targets)]
                if port != wanted:
                    caller.close()
                    port, caller = wanted, Caller(wanted)
                if failure := _failure(caller):
                    failed.append(failure)
                else:
                    answered[number] += 1
                if number < 2:
                    caller.close()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        pods[0].terminate()
        until(lambda: pods[0].probe("/ready").status == 503)
        targets[:] = [pods[1].ports[0]]  # as its endpoint goes
        assert pods[0].process.wait(20) == 0
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
        assert failed == []
        assert min(answered) > 20

    def test_a_caller_that_is_connected_is_answered_and_told_to_leave(self, start_pod: StartPod, adds_up: Path) -> None:
        pod = start_pod(adds_up, drain_seconds=20).wait_ready()
        caller = pod.caller()
        assert "connection" not in caller.invoke().headers
        pod.terminate()
        until(lambda: _refuses(pod.ports[0]))
        assert pod.process.poll() is None
        answer = caller.invoke()
        assert (answer.json, answer.headers["connection"]) == ({"predictions": [15.5]}, "close")
        assert pod.process.wait(5) == 0

    def test_at_the_deadline_it_ends_although_somebody_is_connected(self, start_pod: StartPod, adds_up: Path) -> None:
        pod = start_pod(adds_up, drain_seconds=1).wait_ready()
        with hold(pod.ports[0]):
            time.sleep(0.1)
            began = time.monotonic()
            assert pod.stop() == 0
            assert 0.9 < time.monotonic() - began < 8

    def test_a_second_sigterm_ends_it_sooner(self, start_pod: StartPod, adds_up: Path) -> None:
        pod = start_pod(adds_up, drain_seconds=60).wait_ready()
        with hold(pod.ports[0]):
            time.sleep(0.1)
            pod.terminate()
            until(lambda: pod.probe("/ready").status == 503)
            pod.terminate()
            assert pod.process.wait(8) == 0

    def test_before_the_first_worker_is_ready_it_ends_at_once(
        self, start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path
    ) -> None:
        pod = start_pod(make_artifact(tmp_path / "model", SLOW_TO_LOAD.replace("1.5", "60")))
        until(lambda: len(children(pod.process.pid)) == 2)
        time.sleep(0.3)
        assert pod.stop(8) == 0

    def test_nothing_is_left(self, start_pod: StartPod, adds_up: Path) -> None:
        pod = start_pod(adds_up, workers=2).wait_ready(2)
        family = children(pod.process.pid)
        assert pod.stop() == 0
        assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]

    def test_nothing_outlives_a_supervisor_that_is_killed(self, start_pod: StartPod, adds_up: Path) -> None:
        pod = start_pod(adds_up, workers=2).wait_ready(2).settled(2)
        family = descendants(pod.process.pid)
        assert len(family) >= 3, "two workers and the zygote"
        pod.process.kill()
        pod.process.wait()
        try:
            until(lambda: not alive(family))
        finally:
            for pid in alive(family):
                os.kill(pid, signal.SIGKILL)


class TestWhatDoesNotComeUp:
    def test_a_wrong_release_ends_it_with_status_2_and_a_line_that_says_where(
        self, start_pod: StartPod, adds_up: Path
    ) -> None:
        pod = start_pod(adds_up, settings={"timeout_ms": "s3cr3t"})
        assert pod.process.wait(10) == 2
        assert pod.log == (
            "serinus: SERINUS_RELEASE: settings.timeout_ms must be a whole number of milliseconds from 1 on\n"
        )

    def test_a_model_that_fails_to_load_is_said_in_words_and_ends_the_pod(
        self, start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path
    ) -> None:
        code = "def _load_pyfunc(path):\n    raise ValueError('the licence is missing')\n"
        pod = start_pod(make_artifact(tmp_path / "model", code))
        until(lambda: "ValueError" in pod.probe("/startup").text)
        answer = pod.probe("/startup")
        assert answer.status == 503
        assert answer.text.startswith("no worker has become ready: ")
        assert pod.process.wait(30) == 1
        reason = pod.message.read_text()
        assert reason.startswith("fraud-1-abc123 does not come up: ")
        assert "ValueError: the licence is missing" in reason
        assert pod.log.splitlines()[-1] == f"serinus: {reason}"

    def test_a_model_that_ends_its_process_is_told_by_its_last_words(
        self, start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path
    ) -> None:
        code = "import os\ndef _load_pyfunc(path):\n    os.abort()\n"
        pod = start_pod(make_artifact(tmp_path / "model", code))
        assert pod.process.wait(30) == 1
        assert "killed by SIGABRT: Fatal Python error: Aborted" in pod.message.read_text()

    def test_a_model_that_never_is_ready_is_killed(
        self, start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path
    ) -> None:
        pod = start_pod(make_artifact(tmp_path / "model", SLOW_TO_LOAD.replace("1.5", "60")), load_seconds=1)
        assert pod.process.wait(60) == 1
        assert "it was not ready within 1 s and was killed" in pod.message.read_text()

    def test_a_long_reason_fits_into_the_termination_message(
        self, start_pod: StartPod, make_artifact: Callable[..., Path], tmp_path: Path
    ) -> None:
        code = """
import json, os, stat

def _load_pyfunc(path):
    line = json.dumps({"state": "failed", "reason": "\\x1b[2J" + "\\u202e" * 100_000}).encode() + b"\\n"
    for entry in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(entry)).st_mode):
                os.write(int(entry), line)
        except OSError:
            pass
    os._exit(1)
"""
        pod = start_pod(make_artifact(tmp_path / "model", code))
        assert pod.process.wait(30) == 1
        message = pod.message.read_bytes()
        assert len(message) == 4096
        assert message.startswith(b"fraud-1-abc123 does not come up: \\x1b[2J\\u202e")

    def test_a_port_that_is_taken_is_said(self, start_pod: StartPod, adds_up: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            pod = start_pod(adds_up, http_port=taken.getsockname()[1])
            assert pod.process.wait(10) == 1
        assert pod.message.read_text().endswith("its ports cannot be listened on: Address already in use")

    def test_a_request_that_kills_each_worker_does_not_end_the_pod(self, start_pod: StartPod, obedient: Path) -> None:
        pod = start_pod(obedient).wait_ready()
        for _ in range(5):  # as many starts in a row that fail would end it
            worker = who(pod.caller())
            with pytest.raises(ConnectionError):
                who(pod.caller(), "exit 5")
            until(lambda: worker not in pod.workers())  # noqa: B023  called at once
            pod.wait_ready()
        assert pod.metric("restarts_total") == 5
        assert pod.probe("/live").status == 200
        assert "12.5" not in pod.log
        assert who(pod.caller()) == pod.workers()[0]
