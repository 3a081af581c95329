"""The package index of this machine for pods of a cluster that reaches nothing beyond it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
from servers import ServerThread

_NAMES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_PYPI = "https://pypi.org/simple"
_ORIGIN = re.compile(r"https?://[^/\s\"'#<>]+")
_ASKED = ("accept", "range", "if-none-match")
_ANSWERED = ("content-type", "content-range", "accept-ranges", "content-length", "etag", "cache-control")
_LISTS = ("text/html", "application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.v1+json")
_CHUNK = 1 << 16


class PackageIndex:
    """Serves the index by plain HTTP at `url`. Links in its lists are rewritten to this server. A path begins with the
    number of the origin that has the file: `/0/simple/numpy/` is fetched from the first one that was seen."""

    def __init__(self, listen: str) -> None:
        upstream = next((os.environ[name] for name in _NAMES if os.environ.get(name)), _PYPI).rstrip("/")
        split = urlsplit(upstream)
        self._origins = [f"{split.scheme}://{split.netloc}"]
        self._lock = threading.Lock()
        self._client = httpx.Client(timeout=60, follow_redirects=True, limits=httpx.Limits(max_connections=64))
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index._answer(self)

            do_HEAD = do_GET  # noqa: N815  as the server calls it

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing is printed."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Who asked has gone."""

        self._server = ServerThread(Server((listen, 0), Handler))
        self._root = f"http://{listen}:{self._server.port}"
        self.url = f"{self._root}/0{split.path}"

    def close(self) -> None:
        self._server.close()
        self._client.close()

    def _answer(self, asked: BaseHTTPRequestHandler) -> None:
        number, _, path = asked.path.removeprefix("/").partition("/")
        if not number.isdecimal() or int(number) >= len(self._origins):
            asked.send_error(404)
            return
        headers = {name: asked.headers[name] for name in _ASKED if name in asked.headers}
        url = f"{self._origins[int(number)]}/{path}"
        with self._client.stream(asked.command, url, headers={"accept-encoding": "identity"} | headers) as found:
            kept = {name: found.headers[name] for name in _ANSWERED if name in found.headers}
            kind = found.headers.get("content-type", "").partition(";")[0]
            listed = asked.command == "GET" and kind in _LISTS
            body = self._rewritten(found.read().decode()).encode() if listed else b""
            if listed:
                kept["content-length"] = str(len(body))
            asked.send_response_only(found.status_code)
            for name, value in kept.items():
                asked.send_header(name, value)
            if "content-length" not in kept:
                asked.close_connection = True
                asked.send_header("connection", "close")
            asked.end_headers()
            if listed:
                asked.wfile.write(body)
            elif asked.command == "GET":
                for part in found.iter_raw(_CHUNK):
                    asked.wfile.write(part)

    def _rewritten(self, text: str) -> str:
        return _ORIGIN.sub(lambda found: f"{self._root}/{self._number(found[0])}", text)

    def _number(self, origin: str) -> int:
        with self._lock:
            if origin not in self._origins:
                self._origins.append(origin)
            return self._origins.index(origin)


@contextmanager
def running(listen: str) -> Iterator[PackageIndex]:
    index = PackageIndex(listen)
    try:
        yield index
    finally:
        index.close()
