"""An S3 server for tests, and a way to it that a test can cut."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import ServerThread
from waiting import free_port, wait_until

from clusterlab.modules import program

BUCKET = "fraud"
KEY, SECRET = "test-key", "test-secret-that-nobody-may-see"
_LOOPBACK = "127.0.0.1"
_HOPS = {"connection", "transfer-encoding", "keep-alive"}


class ObjectStore:
    """The server, with the bucket `BUCKET`. `door` leads to it, and listens on the address `listen`."""

    def __init__(self, directory: Path, listen: str = _LOOPBACK) -> None:
        self._files, self._log = directory / "files", directory / "server.log"
        (self._files / BUCKET).mkdir(parents=True)
        self._port = free_port()
        command = [found_server(), "--access", KEY, "--secret", SECRET, "--port", f"127.0.0.1:{self._port}"]
        command += ["--region", "us-east-1", "--quiet", "posix", "--sidecar", str(directory / "meta"), str(self._files)]
        (directory / "meta").mkdir()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers)
        self.door = Door(self._port, listen)

    def environment(self) -> Mapping[str, str]:
        """The variables of who may use it."""
        return {
            "AWS_ENDPOINT_URL": self.door.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "NO_PROXY": self.door.host,
        }

    @property
    def behind_the_door(self) -> str:
        """The URL of the server itself, for clients that upload in chunks, which the door does not pass on."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def root(self) -> Path:
        """The directory with the objects of the bucket, as files."""
        return self._files / BUCKET

    def keys(self, prefix: str) -> list[str]:
        """Names of the objects below `prefix`."""
        return sorted(str(path.relative_to(self.root)) for path in (self.root / prefix).rglob("*") if path.is_file())

    def close(self) -> None:
        self.door.close()
        self._process.terminate()
        self._process.wait(20)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            connection.request("GET", "/")
            return connection.getresponse().status == 403  # who does not sign is refused
        return False


class Door:
    """Passes requests on to a port of loopback.

    While it is `shut`, it passes on nothing and answers nothing. The answers to requests for which `loses` is true are
    lost: they are carried out, and whoever asked does not learn it.
    """

    def __init__(self, port: int, host: str = _LOOPBACK) -> None:
        self.shut, self.host = False, host
        self.loses: Callable[[str, str], bool] = lambda method, path: False
        self.lost: list[str] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if door.shut:
                    self.close_connection = True
                    return
                answer = self._asked(body)
                if door.loses(self.command, self.path):
                    door.lost.append(self.path)
                    self.close_connection = True
                    return
                self._pass_on(*answer)

            def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                with contextlib.closing(there):
                    there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        there.putheader(name, value)
                    there.endheaders(body or None)
                    got = there.getresponse()
                    return got.status, got.getheaders(), got.read()

            def _pass_on(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in _HOPS and (name.lower() != "content-length" or self.command == "HEAD"):
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Who asked has gone."""

        self._server = ServerThread(Server((host, 0), Handler))
        self.url = f"http://{host}:{self._server.port}"

    def close(self) -> None:
        self._server.close()


def found_server() -> str:
    """The program. Skips the test where it is missing, or fails it where `SERINUS_TEST_OBJECT_STORE=required`."""
    found = shutil.which("versitygw") or str(program("versitygw"))
    if not Path(found).exists():
        why = "there is no S3 server on this machine (make object-store builds one)"
        if os.environ.get("SERINUS_TEST_OBJECT_STORE") == "required":
            pytest.fail(why)
        pytest.skip(why)
    return found


@contextlib.contextmanager
def running(directory: Path, listen: str = _LOOPBACK) -> Iterator[ObjectStore]:
    """A server of its own."""
    store = ObjectStore(directory, listen)
    try:
        yield store
    finally:
        store.close()
