"""A package index of its own, real uv against it: quick, and the same on every machine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import ServerThread

from serinus.backends.uv import UvEnvironments
from serinus.core.release import Environment, Requirements


def make_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...], files: Mapping[str, str]) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    metadata = "".join(f"Requires-Dist: {one}\n" for one in requires)
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path


class Index:
    """A simple repository (PEP 691, with PEP 658's metadata apart, so that only a build downloads a wheel).

    While `open` is not set, downloads wait; with `dates` off no upload times are told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dates = True
        self.uploaded: dict[str, str] = {}
        self.downloads: list[str] = []
        self.requests = 0
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        """Set by the first download."""
        self._server = ServerThread(ThreadingHTTPServer(("127.0.0.1", 0), _handler(self)))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    @property
    def option(self) -> str:
        """As a model names it; the operator has its credentials."""
        return f"--index-url http://{self.host}/simple"

    @property
    def url(self) -> str:
        return f"http://user:secret-token@{self.host}/simple"

    def add(
        self, name: str, version: str, day: str, *requires: str, code: str = "", more: Mapping[str, str] | None = None
    ) -> None:
        """A package of one module, with `code` or its version in it; `more` files beside it."""
        files = {f"{name}.py": code or f"version = {version!r}\n", **(more or {})}
        path = make_wheel(self.folder, name, version, requires, files)
        self.uploaded[path.name] = f"{day}T12:00:00Z"

    def add_source(self, name: str, version: str, day: str, files: Mapping[str, str]) -> Path:
        """A source archive, which has no metadata but its name and version."""
        path = self.folder / f"{name}-{version}.tar.gz"
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        with tarfile.open(path, "w:gz") as archive:
            for file, text in {**files, "PKG-INFO": about}.items():
                entry = tarfile.TarInfo(f"{name}-{version}/{file}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        self.uploaded[path.name] = f"{day}T12:00:00Z"
        return path

    def page(self, name: str) -> bytes | None:
        files = [
            {
                "filename": path.name,
                "url": f"/files/{path.name}",
                "core-metadata": path.suffix == ".whl",
                "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
                **({"upload-time": self.uploaded[path.name]} if self.dates else {}),
            }
            for path in sorted(self.folder.glob(f"{name.replace('-', '_')}-*"))
        ]
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode() if files else None

    def metadata(self, wheel: str) -> bytes:
        with zipfile.ZipFile(self.folder / wheel) as opened:
            return opened.read(next(name for name in opened.namelist() if name.endswith("/METADATA")))

    def close(self) -> None:
        self.open.set()
        self._server.close()


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.requests += 1
            kind, _, name = self.path.strip("/").partition("/")
            if name.endswith(".metadata"):
                self.answer(index.metadata(name.removesuffix(".metadata")), "text/plain")
            elif kind == "files":
                index.downloads.append(name)
                index.asked.set()
                index.open.wait(30)
                self.answer((index.folder / name).read_bytes(), "application/octet-stream")
            else:
                self.answer(index.page(name), "application/vnd.pypi.simple.v1+json")

        def answer(self, body: bytes | None, kind: str) -> None:
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    folder = tmp_path / "index"
    folder.mkdir()
    # A cache of its own: what another test downloaded would hide whether this one downloads.
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    index = Index(folder)
    yield index
    index.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "environments"


@pytest.fixture
def environments(home: Path, index: Index) -> UvEnvironments:
    return UvEnvironments(home, always=(), accelerate=False, indexes=[index.url])


Prepare = Callable[..., Environment]


@pytest.fixture
def said() -> list[str]:
    """The lines of progress, in order."""
    return []


@pytest.fixture
def prepare(environments: UvEnvironments, index: Index, said: list[str]) -> Prepare:
    """prepare("requirement", ..., at="2023-01-15", loads=...): from the test's index, on the running Python."""

    def prepared(
        *packages: str,
        at: str | None = None,
        loads: Callable[[Environment], str | None] = lambda _: None,
        using: UvEnvironments = environments,
    ) -> Environment:
        logged_at = datetime.fromisoformat(at).replace(hour=9, tzinfo=UTC) if at else None
        requirements = Requirements((index.option, *packages), None, logged_at, "requirements.txt")
        return using.prepare(requirements, loads, said.append)

    return prepared
