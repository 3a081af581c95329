"""An API server for clients that connect by a kubeconfig. It keeps Leases, and single objects that are created and
replaced; all lists are empty."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from leases import MemoryLeases
from servers import ServerThread

from serinus.core.errors import NotFound
from serinus.targets.kubernetes.cluster import Conflict, Object
from serinus.targets.kubernetes.cluster.kinds import KINDS, LEASE

LISTS = frozenset(kind.plural for kind in KINDS)


@contextmanager
def serving_leases(directory: Path) -> Iterator[tuple[Path, MemoryLeases, Mapping[str, MemoryLeases]]]:
    """A kubeconfig, the Leases behind it, and what else is kept, by the address of each object."""
    leases = MemoryLeases()

    others: dict[str, MemoryLeases] = {}
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _kept(self) -> MemoryLeases:
            """What is kept under the address of one object."""
            address = self.path.partition("?")[0]
            return leases if "/leases/" in address else others.setdefault(address, MemoryLeases())

        def do_GET(self) -> None:
            if "watch=" in self.path:
                over.wait(30)
            if self.path.partition("?")[0].rpartition("/")[2] in LISTS:
                self._answer(lambda _: {"metadata": {"resourceVersion": "1"}, "items": []})
            else:
                self._answer(lambda _: _found(self._kept()))

        def do_POST(self) -> None:
            def create(manifest: Object) -> Object:
                self.path = f"{self.path.partition('?')[0]}/{manifest['metadata']['name']}"
                return self._kept().create(manifest)

            self._answer(create)

        def do_PUT(self) -> None:
            self._answer(self._kept().replace)

        def _answer(self, act: Any) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                code, answer = 200, act(json.loads(body) if body else None)
            except NotFound:
                code, answer = 404, _status(404, "NotFound")
            except Conflict:
                code, answer = 409, _status(409, "Conflict")
            text = json.dumps(answer).encode()
            with suppress(OSError):  # The client has gone.
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    with ServerThread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(server.server_port)))
        try:
            yield kubeconfig, leases, others
        finally:
            over.set()


def _found(leases: MemoryLeases) -> Object:
    found = leases.find(LEASE, "", "")
    if found is None:
        raise NotFound("there is none")
    return found


def _status(code: int, reason: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
        "details": {"kind": "leases"},
    }


def _kubeconfig(port: int) -> Object:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {}}],
    }
