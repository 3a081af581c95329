"""Serinus as a process: a worker that is started as the host starts it, and asked over its socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import serinus_runtime
from serinus_runtime.base.errors import StartFailure

from fidelity.build import Built
from fidelity.forms import MODEL, VERSION
from fidelity.served import Reply, declared_protocols, read_reply

WAY = "worker"
_SOURCE = Path(str(serinus_runtime.__file__)).parent.parent
_START = f"import sys; sys.path.append({str(_SOURCE)!r}); from serinus_runtime.process.worker import main; main()"
_SECONDS = 60.0
"""For one answer, on a machine that has much else to do."""


class Worker:
    """`within`: how the process itself predicts."""

    def __init__(self, path: Path, within: str, by_tensors: bool) -> None:
        self.way = WAY
        self.within = within
        self.by_tensors = by_tensors
        self._path = path
        status, _, body = self._exchange(f"GET /v2/models/{MODEL} HTTP/1.1\r\nhost: models\r\n\r\n".encode())
        if status != 200:
            raise StartFailure(f"the worker does not describe its model: {status}")
        self.described: dict[str, Any] = json.loads(body)

    def ask(self, request: bytes) -> Reply:
        """`request`: head and body."""
        try:
            status, head, body = self._exchange(request)
        except (OSError, http.client.HTTPException) as error:
            return Reply(500, crash=f"the worker does not answer: {type(error).__name__}")
        return read_reply(status, head, body)

    def _exchange(self, request: bytes) -> tuple[int, bytes, bytes]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(self._path))
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            lines = [f"{name.lower()}: {value}" for name, value in response.getheaders()]
            return response.status, "\r\n".join(["", *lines]).encode("latin-1"), response.read()


@contextmanager
def started(built: Built) -> Iterator[Worker]:
    """Raises StartFailure with what the worker reports."""
    with tempfile.TemporaryDirectory(prefix="sf-") as scratch:
        directory = Path(scratch)
        path = directory / "w.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(16)
            reader, writer = os.pipe()
            config = _config(built, directory, listener.fileno(), writer)
            with (directory / "worker.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _START, str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(listener.fileno(), writer),
                    cwd=directory,
                )
        os.close(writer)
        try:
            with os.fdopen(reader) as reports:
                yield Worker(path, _ready(reports), "open-inference" in declared_protocols(built))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _config(built: Built, directory: Path, listen: int, report: int) -> Path:
    file = directory / "config.json"
    content = {
        "release": f"{MODEL}-1-abc123", "model": MODEL, "version": VERSION, "artifact": str(built.artifact),
        "listen_fd": listen, "report_fd": report, "log": None, "scratch": str(directory / "scratch"),
        "settings": {"timeout_ms": 60_000, "protocols": list(declared_protocols(built))},
    }  # fmt: skip
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def _ready(reports: Any) -> str:
    """The way of the worker that is ready."""
    for line in reports:
        report = json.loads(line)
        if report["state"] == "ready":
            return str(report["way"])
        if report["state"] == "failed":
            raise StartFailure(str(report["reason"]))
    raise StartFailure("the worker ended before it was ready")
