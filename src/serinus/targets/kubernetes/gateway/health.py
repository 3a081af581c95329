"""What the kubelet and Prometheus ask the agent: `/ready`, `/live`, `/metrics`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serinus.core.errors import Unavailable

_SECONDS = 5.0
"""That a caller may take to say what it asks."""


class Health:
    """`ready`: why callers should not be sent to this gateway; empty: they may. `live`: the same of the agent itself.
    `metrics`: text for Prometheus; raises Unavailable. Port 0: a free one."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        ready: Callable[[], str],
        live: Callable[[], str],
        metrics: Callable[[], str],
    ) -> None:
        def state(why: Callable[[], str]) -> tuple[HTTPStatus, str]:
            words = why()
            return (HTTPStatus.SERVICE_UNAVAILABLE, words) if words else (HTTPStatus.OK, "yes")

        def measured() -> tuple[HTTPStatus, str]:
            try:
                return HTTPStatus.OK, metrics()
            except Unavailable as error:
                return HTTPStatus.SERVICE_UNAVAILABLE, error.message

        pages = {"/ready": lambda: state(ready), "/live": lambda: state(live), "/metrics": measured}
        self._server = _server(address)((address, port), _handler(pages))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _server(address: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True

    return Server


def _handler(pages: dict[str, Callable[[], tuple[HTTPStatus, str]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, text = page() if page else (HTTPStatus.NOT_FOUND, "there is no such page")
            body = f"{text.rstrip()}\n".encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The kubelet asks every few seconds."""

    return Handler
