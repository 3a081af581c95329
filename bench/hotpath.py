"""The way of a request through a worker, without sockets: for `bench.instructions`, which counts what it takes.

    python hotpath.py RUNTIME COMPILED ARTIFACT REQUESTS COUNT

in the environment of compiled releases. REQUESTS: a JSON list of bodies in ASCII, which are asked in turn. What Envoy
adds to a request is added here as well; records are encoded as they are for the collector.
"""

from __future__ import annotations

import inspect
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

from serinus_runtime.base import accelerators
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.http import server
from serinus_runtime.http.connection import Connection
from serinus_runtime.model import compiled
from serinus_runtime.records.sender import Records
from serinus_runtime.serving.application import Application
from serinus_runtime.serving.call import Call

_LOT = 64
"""Records that are encoded together under load."""
_BATCH = 1 << 20
_HEAD = """\
POST /models/bench/invocations HTTP/1.1\r
host: 127.0.0.1\r
content-type: application/json\r
x-entity-id: card-{number}\r
content-length: {length}\r
x-forwarded-proto: http\r
x-request-id: 5ab00b29-04bf-46c4-b214-{number:012d}\r
{own}x-serinus-split: s1\r
x-envoy-expected-rq-timeout-ms: 600000\r
x-serinus-role: champion\r
x-serinus-start: {now:.6f}\r
\r
"""


class _Loop:
    def time(self) -> float:
        return time.monotonic()


class _Transport:
    def __init__(self) -> None:
        self.answered = 0

    def write(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(data.decode(errors="replace"))
        self.answered += 1

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        """It always reads."""


def _request(number: int, body: str) -> bytes:
    # Earlier versions are not sent it, and would take the head for an unknown one.
    own = (
        f"x-serinus-prediction-id: 7ab00b29-04bf-46c4-b214-{number:012d}\r\n" if "prediction" in Call.__slots__ else ""
    )
    return (_HEAD.format(number=number, own=own, length=len(body), now=time.time()) + body).encode()


def main() -> None:
    _, _, directory, artifact, file, count = sys.argv
    accelerators.find()
    server._SLOW = 1e9  # under an instrument everything is slow, and nobody is to wait for a turn
    config: Any = {"release": "bench-1-abcdef", "model": "bench", "version": "1", "artifact": Path(artifact)}
    config |= {"listen_fd": -1, "report_fd": -1, "scratch": Path.cwd(), "settings": Settings(timeout_ms=600_000)}
    # Earlier versions connect by themselves, once they have been started.
    told = ("/none", "bench", "none") if "path" in inspect.signature(Records).parameters else ()
    records: Any = Records(*told)
    model = compiled.read(Path(directory), Path(artifact))
    application = Application(Config(**config), model, records.append, records.full)
    answering: Any = server.Server(None, application.handle, 1 << 20)  # type: ignore[arg-type]  # nobody connects
    transport: Any = _Transport()
    connection = Connection(answering, _Loop())  # type: ignore[arg-type]
    connection.connection_made(transport)
    requests = [_request(number, body) for number, body in enumerate(json.loads(Path(file).read_text()))]
    for number in range(int(count)):
        connection.data_received(requests[number % len(requests)])
        if number % _LOT == _LOT - 1:
            records._encode()
            if records._batch.size > _BATCH:
                records._send()
                records._waiting.clear()
                records._held = 0
    if transport.answered != int(count):
        raise SystemExit(f"{transport.answered} of {count} requests were answered")


if __name__ == "__main__":
    main()
