"""What a model's packages bring, through a real deployment: nothing of it runs unconfined, none of it is expanded."""

from __future__ import annotations

import http.server
import io
import os
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from hostile_models import wheel
from hostile_serinus import Attacked, fresh
from servers import ServerThread
from whole_load import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

READS = """
import os
def reads(path):
    try:
        open(path).read(1)
        return "readable"
    except OSError as error:
        return type(error).__name__
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A package index: its address, its directory, and what it was asked for."""
    handler = partial(_Quiet, directory=str(tmp_path))
    with ServerThread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        server.asked = []  # type: ignore[attr-defined]
        yield f"http://127.0.0.1:{server.server_port}", tmp_path, server.asked  # type: ignore[attr-defined]


def _source(files: dict[str, str], package: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in {**files, "PKG-INFO": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"}.items():
            entry = tarfile.TarInfo(f"{package}-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


@pytest.mark.parametrize("way", ["an index of its own", "a file of the artifact", "a backend of its own", "editable"])
def test_code_that_builds_a_package_does_not_run(
    serinus: Attacked, index: tuple[str, Path, list[str]], way: str
) -> None:
    address, pages, _ = index
    package, proof = fresh("scorer").replace("-", ""), serinus.directory / fresh("ran")
    runs = f"open({str(proof)!r}, 'w').close()\n"
    setup = {"setup.py": f"{runs}import setuptools\nsetuptools.setup(name={package!r}, version='1.0')\n"}
    backend = {
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'own'\nbackend-path = ['.']\n",
        "own.py": f"{runs}def build_wheel(*a): raise SystemExit\nprepare_metadata_for_build_wheel = build_wheel\n",
    }
    archive = _source(backend if way == "a backend of its own" else setup, package)
    files: dict[str, str | bytes] = {}
    if way == "a file of the artifact":
        files[f"{package}-1.0.tar.gz"] = archive
        lines = [f"./{package}-1.0.tar.gz"]
    elif way == "editable":
        files |= {f"code/{name}": text for name, text in setup.items()}
        lines = ["-e ./code"]
    else:
        folder = pages / "simple" / package
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(f'<a href="{package}-1.0.tar.gz">{package}-1.0.tar.gz</a>')
        (folder / f"{package}-1.0.tar.gz").write_bytes(archive)
        lines = [f"--extra-index-url {address}/simple", f"{package}==1.0"]
    ended = serinus.attempt(serinus.register(fresh("builds"), files, lines))
    assert ended["status"]["phase"] == "aborted"
    assert not proof.exists()


@pytest.mark.parametrize(
    "line",
    [
        "--index-url {at}/leak-${{HOME}}",
        "--find-links {at}/leak-${{HOME}}",
        "scorer @ {at}/leak-${{HOME}}/scorer-1.0-py3-none-any.whl",
        "--extra-index-url {at}/leak-${{HOME}}/simple",
        "--index-url {at}/leak-$HOME",
        "--index-url {at}/leak-~",
    ],
)
def test_no_variable_is_expanded_in_a_requirement(
    serinus: Attacked, index: tuple[str, Path, list[str]], line: str
) -> None:
    address, _, asked = index
    ref = serinus.register(fresh("variables"), {}, [line.format(at=address), "scorer==1.0"])
    ended = serinus.attempt(ref)
    assert ended["status"]["phase"] == "aborted"
    home = str(Path("~").expanduser())
    assert home not in ended["status"]["reason"]
    assert not [path for path in asked if "leak-" in path and not any(sign in path for sign in ("$", "%24", "~"))]


def test_a_wheel_with_the_interpreters_settings_is_refused_by_their_name(serinus: Attacked) -> None:
    package = fresh("settings").replace("-", "")
    name, content = wheel(package, {f"{package}-1.0.data/data/pyvenv.cfg": "home = /tmp\n", f"{package}.py": ""})
    ended = serinus.attempt(serinus.register(fresh("pyvenv"), {name: content}, [f"./{name}"]))
    assert ended["status"]["phase"] == "aborted"
    assert "pyvenv.cfg" in ended["status"]["reason"]


def test_what_python_runs_at_its_start_runs_confined(serinus: Attacked) -> None:
    """In whatever is started for the model: a hook of a package writes down what it can read, where it may write."""
    package = fresh("starts").replace("-", "")
    outside = serinus.directory / fresh("ran")
    tells = f"""{READS}
for path in ({str(outside)!r}, "ran"):
    try:
        with open(path, "a") as file:
            file.write(reads({str(serinus.home.token)!r}) + " " + reads({str(serinus.home.secret)!r}) + chr(10))
    except OSError:
        pass
"""
    files = {f"{package}.py": tells, f"{package}.pth": f"import {package}\n"}
    files |= dict.fromkeys(("sitecustomize.py", "usercustomize.py"), tells)
    loader = f"""
import sys
RAN = [name in sys.modules for name in ({package!r}, "sitecustomize")]
class Model:
    def predict(self, rows, params=None):
        return [float(all(RAN))] * len(rows)
def _load_pyfunc(path):
    return Model()
"""
    file, content = wheel(package, files)
    model = fresh("starts")
    serinus.promoted(serinus.register(model, {file: content, "code/by_hand.py": loader}, [f"./{file}"]))
    answer = _ask(serinus, model)
    assert answer.json() == {"predictions": [1.0]}, "so they ran"
    assert not outside.exists()
    told = {path.read_text() for path in serinus.home.scratch.rglob("ran")}
    assert not [text for text in told if "readable" in text]


LINKS = """
import os, sys
if "serinus_runtime.process.zygote" in sys.modules:
    nest = os.path.dirname(os.getcwd())
    home = os.path.dirname(os.path.dirname(nest))
    for name in [*os.listdir(nest), "next", os.path.basename(os.getcwd())]:
        scratch = os.path.join(nest, name)
        try:
            os.rename(scratch, os.path.join(nest, ".was-" + name))
        except OSError:
            pass
        try:
            os.symlink(home, scratch)
        except OSError:
            pass
"""


def _ask(serinus: Attacked, model: str) -> httpx.Response:
    return serinus.callers.post(f"/models/{model}/invocations", json={"instances": [[1.0]]})


def test_a_scratch_directory_that_was_swapped_for_a_link_to_the_home_gives_nothing_of_it(serinus: Attacked) -> None:
    package = fresh("links").replace("-", "")
    file, content = wheel(package, {f"{package}.pth": f"import {package}\n", f"{package}.py": LINKS})
    loader = (
        READS
        + """
import threading, time
def here():
    names = ("token", "secret", "settings.json")
    found = [reads(name) for name in names] + [reads(os.path.join(os.environ.get("HOME", ""), name)) for name in names]
    try:
        open("case-was-here", "w").close()
    except OSError:
        pass
    return found
class Model:
    def predict(self, rows, params=None):
        return [float("readable" in here())] * len(rows)
def _load_pyfunc(path):
    here()
    return Model()
"""
    )
    model = fresh("links")
    ref = serinus.register(model, {file: content, "code/by_hand.py": loader}, [f"./{file}"])
    ended = serinus.attempt(ref)
    if ended["status"]["phase"] == "promoted":
        assert _ask(serinus, model).json() == {"predictions": [0.0]}
        os.kill(int(serinus.placement(str(ended["candidate"]["id"])).pid or 0), 9)
        wait_until(lambda: _ask(serinus, model).status_code == 200, 30, "the next worker")
        assert _ask(serinus, model).json() == {"predictions": [0.0]}
    assert not (serinus.home.path / "case-was-here").exists()
    assert not (serinus.home.path / ".was-next").exists()
