"""Real registries on loopback: Debian's `docker-registry`, and a proxy before one that does what networks do."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from servers import ServerThread
from waiting import free_port

from serinus.lib import tied
from serinus.lib.tied import Tied

USER, PASSWORD = "deployer", "let-me-in"
HTPASSWD = f"{USER}:$2b$04$CenOXRm1EXk8PxiFVJgzd.FJDbABe901UPkLtoag8O2USI1bOZyq6\n"


def program() -> str:
    """The path of `docker-registry`. Skips the test where there is none, or fails it where CI requires one."""
    found = shutil.which("docker-registry")
    if found is None:
        why = "there is no docker-registry on this machine (Debian: apt-get install docker-registry)"
        if os.environ.get("SERINUS_TEST_REGISTRY") == "required":
            pytest.fail(why)
        pytest.skip(why)
    return found


@contextmanager
def serving(directory: Path, *, before: list[str] | None = None, **settings: object) -> Iterator[str]:
    """A registry that keeps its blobs in `directory`, with more `settings`; `host:port`. `before`: a command that
    starts it."""
    found, port = program(), free_port()
    config = directory / "config.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "version": "0.1",
                "log": {"level": "warn"},
                "storage": {"filesystem": {"rootdirectory": str(directory / "blobs")}, "delete": {"enabled": True}},
                "http": {"addr": f"127.0.0.1:{port}"},
                **settings,
            }
        )
    )
    with (directory / "log").open("wb") as log:
        command = [*(before or []), found, "serve", str(config)]
        process = tied.start(command, stdout=log, stderr=log, first=signal.SIGTERM)
    with process:
        _wait(process, port, directory / "log")
        yield f"127.0.0.1:{port}"


def _wait(process: Tied, port: int, log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
        except OSError:
            assert time.monotonic() < end, log.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
                pytest.fail(f"the registry has ended: {log.read_text()}")
        else:
            return
        finally:
            connection.close()


class Proxy:
    """Before the registry at `upstream`. `requests` are the methods and paths that have come."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        """Bytes of bodies that were sent to the registry."""
        self.answer: Callable[[str, str], tuple[int, dict[str, str], bytes] | None] = lambda method, path: None
        """What it answers itself."""
        self.challenge = ""
        """With which it asks for credentials where there are none."""
        self.saw: Callable[[set[str]], object] = lambda headers: None
        """Gets the names of the headers of each request."""
        self.cut_after: int | None = None
        """Bytes of the next PATCH after which the connection ends, once."""
        self.headers: Callable[[str, str, bytes], dict[str, str]] = lambda method, path, body: {}
        """What it adds to the registry's answer."""
        self._server = ServerThread(ThreadingHTTPServer(("127.0.0.1", 0), _handler(self)))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    def count(self, method: str, part: str = "") -> int:
        return sum(one == method and part in path for one, path in self.requests)

    def close(self) -> None:
        self._server.close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            proxy.requests.append((self.command, self.path))
            length = int(self.headers.get("content-length", "0"))
            proxy.saw({name.lower() for name in self.headers})
            own = proxy.answer(self.command, self.path)
            if proxy.challenge and "authorization" not in self.headers:
                own = 401, {"WWW-Authenticate": proxy.challenge}, b""
            if own is not None:
                self.rfile.read(length)
                self._answer(*own)
                return
            cut, proxy.cut_after = (proxy.cut_after, None) if self.command == "PATCH" else (None, proxy.cut_after)
            if cut is not None:
                self._part(cut)
                return
            body = self.rfile.read(length)
            proxy.sent += len(body)
            upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
            upstream.request(self.command, self.path, body or None, dict(self.headers.items()))
            got = upstream.getresponse()
            content = got.read()
            kept = {
                name: value for name, value in got.getheaders() if name.lower() not in ("transfer-encoding", "date")
            }
            self._answer(got.status, kept | proxy.headers(self.command, self.path, body), content)
            upstream.close()

        def _part(self, cut: int) -> None:
            """Sends a part of the body on, in a request that is whole for the registry, and ends the connection."""
            start = int(self.headers["content-range"].partition("-")[0])
            headers = dict(self.headers.items()) | {
                "Content-Length": str(cut), "Content-Range": f"{start}-{start + cut - 1}",
            }  # fmt: skip
            upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
            upstream.request("PATCH", self.path, self.rfile.read(cut), headers)
            upstream.getresponse().read()
            upstream.close()
            proxy.sent += cut
            self.close_connection = True
            self.connection.close()

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            lower = {name.lower() for name in headers}
            for name, value in headers.items():
                self.send_header(name, value)
            if "content-length" not in lower:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler
