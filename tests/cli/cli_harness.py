"""What a call of the command line said, and a stand-in for Envoy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Serinus = Callable[..., Said]


class Proxy(ThreadingHTTPServer):
    """Stands where Envoy stands: answers the Open Inference Protocol and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.status = 200


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        rows = body["inputs"][0]["shape"][0]
        output = {"name": "score", "shape": [rows], "datatype": "FP64", "data": [0.25] * rows}
        good = {"model_name": "card-fraud", "outputs": [output]}
        answer = good if self.server.status == 200 else {"error": "input 'amount' is missing"}
        text = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(text)))
        self.send_header("x-serinus-release", "card-fraud-6-1c04be")
        self.send_header("x-request-id", self.headers.get("x-request-id", "made-up"))
        self.send_header("x-serinus-prediction-id", "own-1")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""
