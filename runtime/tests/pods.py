"""Real pods for the tests: the supervisor as the container starts it, on ports of loopback, and always stopped."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from descent import end

SOURCE = Path(__file__).resolve().parent.parent / "src"
PACKAGES = Path(__import__("numpy").__file__).parents[1]
PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
ENTRY = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.pod.main import main; main()"
ROW = {"dataframe_split": {"columns": ["amount", "hour", "country"], "data": [[12.5, 3, "FR"]]}}
ALIKE = ("numpy", "numpy.libs", "pandas", "dateutil", "pytz", "tzdata", "six.py")
COMPILED = ("numpy", "numpy.libs", "onnxruntime", "uvloop", "orjson", "flatbuffers", "google")


def environment_of(directory: Path, packages: Iterable[str]) -> Path:
    """An environment as an image holds it, with packages of this one."""
    site = directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    for name in packages:
        source = PACKAGES / name
        if source.is_dir():
            shutil.copytree(source, site / name, copy_function=_linked, ignore=shutil.ignore_patterns("tests"))
        elif source.exists():
            _linked(str(source), str(site / name))
    return directory


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or another user's file
        shutil.copyfile(source, target)


class Answered:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Caller:
    """One connection to a port, which is kept."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=20)

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}) -> Answered:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, data, dict(headers))
        answer = self._connection.getresponse()
        return Answered(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def invoke(self, body: Any = ROW) -> Answered:
        return self.request("POST", "/invocations", body, {"Content-Type": "application/json"})

    def connect(self) -> None:
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()


class RunningPod:
    def __init__(
        self,
        directory: Path,
        artifact: Path,
        environment: Path,
        *,
        python: str = PYTHON,
        entry: str = ENTRY,
        **said: Any,
    ) -> None:
        directory.mkdir()
        self.artifact = artifact
        self.log_file, self.message = directory / "log", directory / "termination-log"
        self.scratch = directory / "scratch"
        self.scratch.mkdir()
        self.message.touch()
        release = {
            "release": "fraud-1-abc123", "model": "fraud", "version": "1", "settings": {}, "workers": 1,
            "http_port": 0, "health_port": 0, **said,
        }  # fmt: skip
        release["paths"] = {
            "environment": str(environment), "artifact": str(artifact), "graph": str(artifact.parent / "compiled"),
            "scratch": str(self.scratch), "termination_log": str(self.message), **said.get("paths", {}),
        }  # fmt: skip
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [python, "-I", "-S", "-u", "-X", "faulthandler", "-c", entry],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env={"PATH": "/usr/bin:/bin", "SERINUS_RELEASE": json.dumps(release)},
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def ports(self) -> tuple[int, int]:
        """Of predictions, and of probes."""
        found = until(
            lambda: re.search(r"is on port (\d+), and its probes on port (\d+)", self.log),
            alive=lambda: self.process.poll() is None,
        )
        return int(found[1]), int(found[2])

    def caller(self, host: str = "127.0.0.1") -> Caller:
        return Caller(self.ports[0], host)

    def probe(self, path: str, method: str = "GET") -> Answered:
        caller = Caller(self.ports[1])
        try:
            return caller.request(method, path)
        finally:
            caller.close()

    def metric(self, name: str) -> float:
        found = re.search(rf"^serinus_pod_{name}{{.*}} (\S+)$", self.probe("/metrics").text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    def wait_ready(self, workers: int = 1, seconds: float = 60) -> RunningPod:
        until(lambda: self.probe("/ready").status == 200, seconds, lambda: self.process.poll() is None)
        until(lambda: self.metric("workers") == workers, seconds, lambda: self.process.poll() is None)
        return self

    def settled(self, workers: int) -> RunningPod:
        """When all share their libraries, and those that they have replaced are gone."""
        before: tuple[float, set[int]] = 0.0, set()

        def stays() -> bool:
            nonlocal before
            now, there = time.monotonic(), set(self.workers())
            if there != before[1] or len(there) != workers:
                before = now, there
            return now - before[0] > 1.0

        until(stays, 40)
        return self

    def workers(self) -> list[int]:
        """Pids of those that serve: they have a handler for the signal to drain, as the zygote has not."""
        return [pid for pid in children(self.process.pid) if _handles(pid, signal.SIGUSR1)]

    def zygote(self) -> int | None:
        others = set(children(self.process.pid)) - set(self.workers())
        return next((pid for pid in others if b"process.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()), None)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.terminate()
        return self.process.wait(seconds)

    def close(self) -> None:
        """Whatever it has started ends with it, as the container does."""
        end(self.process)


def until(
    predicate: Callable[[], Any],
    seconds: float = 60,
    alive: Callable[[], bool] = lambda: True,
    *,
    every: float = 0.02,
    said: Callable[[], str] = lambda: "",
) -> Any:
    """The first true value of `predicate`. `said` tells more where there is none."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := predicate():
            return value
        assert alive(), "the pod has ended"
        time.sleep(every)
    raise AssertionError(f"did not happen within {seconds} s\n{said()}")


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _handles(pid: int, number: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)


def hold(port: int) -> socket.socket:
    """A connection that says nothing."""
    return socket.create_connection(("127.0.0.1", port), 10)
