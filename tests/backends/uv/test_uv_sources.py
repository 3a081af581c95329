"""Packages that have only a source archive: refused, or built by their own code, confined and without a network."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serinus_runtime.isolation.scratch import Bounds

from serinus.backends.uv import UvEnvironments, confined, sources
from serinus.backends.uv.confined import Limits
from serinus.core.errors import Unbuildable
from serinus.core.release import Environment, Requirements

# A build backend of the package's own. `{before}` runs before it builds; what that puts into `said` is in the wheel.
BACKEND = """
import os, socket, time, zipfile

said = {}
def attempt(what, how):
    try:
        how()
        said[what] = "done"
    except Exception as error:
        said[what] = type(error).__name__

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "NAME-VERSION-py3-none-any.whl"
    BEFORE
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("scorer.py", "said = %r\\n" % said)
        about = "scorer-VERSION.dist-info/"
        wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\\nName: scorer\\nVersion: VERSION\\n")
        wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(about + "RECORD", "")
    return name
"""
LONG = pytest.mark.long
SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def source(before: str = "pass", *, name: str = "scorer", version: str = "1.0", system: str = SYSTEM) -> dict[str, str]:
    code = BACKEND.replace("NAME", name).replace("VERSION", version)
    return {"pyproject.toml": system, "backend.py": code.replace("BEFORE", before.strip().replace("\n", "\n    "))}


def requiring(lines: str) -> dict[str, str]:
    return source(system=SYSTEM.replace("[]", f"[{lines}]"))


@pytest.fixture
def building(home: Path, index: Any) -> UvEnvironments:
    return UvEnvironments(home, always=(), accelerate=False, indexes=[index.url], build_from_source=True)


@pytest.fixture
def listener() -> Iterator[Any]:
    """A server of the same user: its port, and whether anybody has connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        yield server


def run(home: Path, environment: Environment, code: str) -> str:
    return subprocess.run(
        [home / environment.digest / "bin" / "python", "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_without_leave_it_is_refused_with_the_option_that_gives_it(index: Any, prepare: Any) -> None:
    index.add_source("scorer", "1.0", "2023-01-01", source())
    with pytest.raises(Unbuildable, match=r"scorer==1\.0 has no wheel for this Python and platform") as caught:
        prepare("scorer==1.0")
    assert "`serinus up --allow-builds`" in caught.value.hint


def test_a_build_can_neither_read_the_home_nor_write_elsewhere_nor_connect(
    index: Any, prepare: Any, building: UvEnvironments, home: Path, tmp_path: Path, listener: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    token, proof = home / "token", tmp_path / "proof"
    home.mkdir()
    token.write_text("t")
    mode = index.folder.stat().st_mode
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-secret")
    index.add_source(
        "scorer",
        "1.0",
        "2023-01-01",
        source(f"""
attempt("read", lambda: open({str(token)!r}).read())
attempt("write", lambda: open({str(proof)!r}, "w"))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", {listener.getsockname()[1]}), 2))
attempt("send", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)))
os.chmod({str(index.folder)!r}, 0o777)
attempt("own", lambda: open("beside", "w").close())
said["secret"] = any("a-secret" in value for value in os.environ.values())
"""),
    )
    environment = prepare("scorer==1.0", using=building)
    said = json.loads(run(home, environment, "import json, scorer; print(json.dumps(scorer.said))"))
    assert said.pop("own") == "done"
    assert said.pop("secret") is False
    assert set(said) == {"read", "write", "connect", "send"}
    assert set(said.values()) <= {"PermissionError", "OSError"}, said
    assert not proof.exists()
    assert index.folder.stat().st_mode == mode
    with pytest.raises(TimeoutError):
        listener.accept()


@LONG
@pytest.mark.parametrize("setting", ["UV_NO_CONFIG", "UV_CONFIG_FILE"])
def test_uv_builds_nothing_whatever_its_user_has_set(
    index: Any, prepare: Any, building: UvEnvironments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Not to learn what an archive requires, either."""
    proof, file = tmp_path / "proof", tmp_path / "mine.toml"
    file.write_text("no-build = false\n")
    monkeypatch.setenv(setting, "1" if setting == "UV_NO_CONFIG" else str(file))
    files = source()
    files["backend.py"] += f"\ndef prepare_metadata_for_build_wheel(*_):\n    open({str(proof)!r}, 'w')\n"
    files["backend.py"] = f"try:\n    open({str(proof)!r}, 'w')\nexcept OSError:\n    pass\n{files['backend.py']}"
    index.add_source("scorer", "1.0", "2023-01-01", files)
    prepare("scorer==1.0", using=building)
    assert not proof.exists()


def test_what_a_backend_asks_for_beside_what_is_declared_is_there_when_it_builds(
    home: Path, index: Any, prepare: Any, building: UvEnvironments
) -> None:
    index.add("numbers2", "1.5", "2023-01-01")
    files = source('import numbers2\nsaid["found"] = numbers2.version')
    files["backend.py"] += "\ndef get_requires_for_build_wheel(_=None):\n    return ['numbers2<2']\n"
    index.add_source("scorer", "1.0", "2023-01-01", files)
    environment = prepare("scorer==1.0", using=building)
    assert run(home, environment, "import scorer; print(scorer.said)") == "{'found': '1.5'}"
    assert "numbers2" not in (home / environment.digest / "requirements.lock").read_text()


def test_what_was_built_is_locked_by_its_hash_and_not_built_again(
    home: Path, index: Any, prepare: Any, building: UvEnvironments, said: list[str]
) -> None:
    index.add_source("scorer", "1.0", "2023-01-01", source())
    index.add("model", "1.0", "2023-01-01", "scorer>=1")
    one = prepare("model", using=building, at="2023-01-15")
    other = prepare("model", using=building, at="2023-01-15")
    assert one.digest == other.digest
    assert sum(line.startswith("building scorer==1.0 from source") for line in said) == 1
    lock = (home / one.digest / "requirements.lock").read_text()
    assert lock.count("--hash=sha256:") == 2
    assert "scorer==1.0" in lock


@LONG
def test_a_wheel_that_was_built_of_one_archive_is_not_installed_for_another_of_the_same_name(
    home: Path, index: Any, prepare: Any, building: UvEnvironments
) -> None:
    index.add_source("scorer", "1.0", "2023-01-01", source('said["who"] = "first"'))
    prepare("scorer", using=building)
    index.add_source("scorer", "1.0", "2023-01-01", source('said["who"] = "second"'))
    shutil.rmtree(home / "resolved")
    second = prepare("scorer", using=building)
    assert run(home, second, "import scorer; print(scorer.said)") == "{'who': 'second'}"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (source(name="other"), "it built another package"),
        pytest.param(source(version="2.0"), "it built another package", marks=LONG),
        (source("os.symlink('/etc/passwd', os.path.join(directory, name)); return name"), "its build left no wheel"),
        pytest.param(source("return '../../x.whl'"), "it built another package", marks=LONG),
        pytest.param(source("raise ValueError('no compiler')"), "ValueError: no compiler", marks=LONG),
        pytest.param(source("raise SystemExit(3)"), "SystemExit: 3", marks=LONG),
        pytest.param(source("os._exit(0)"), "its process gave no answer", marks=LONG),
        (requiring('"x @ http://127.0.0.1/x.whl"'), "not a released version of a package"),
        pytest.param(requiring('"x\\\\n--pre"'), "not a released version of a package", marks=LONG),
        pytest.param(requiring('"nowhere"'), "what its build requires cannot be installed", marks=LONG),
        pytest.param(source(system=SYSTEM.replace('["."]', '["../.."]')), "backend-path leads out of it", marks=LONG),
        pytest.param(source(system="[build-system"), "its pyproject.toml cannot be read", marks=LONG),
    ],
)  # fmt: skip
def test_a_build_that_fails_is_told_in_words(
    index: Any, prepare: Any, building: UvEnvironments, files: dict[str, str], why: str
) -> None:
    index.add_source("scorer", "1.0", "2023-01-01", files)
    with pytest.raises(Unbuildable, match="building it from source failed") as caught:
        prepare("scorer", using=building)
    assert why in caught.value.message


@LONG
@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("while True: open(str(len(os.listdir('.'))), 'w').close()", "it had written more than 50 files"),
        (
            "file = open('f', 'wb')\nwhile True: file.write(bytes(1 << 16)); time.sleep(0.001)",
            "it had written more than 1 MiB",
        ),
        ("while True: os.write(2, bytes(1 << 16)); time.sleep(0.001)", "it had printed more than 1 MiB"),
        ("while True: pass", "it took longer than 3 s"),
        ("os.mkdir('d', 0)\nwhile True: pass", "a directory that cannot be looked into|longer than 3 s"),
    ],
)
def test_a_build_without_end_is_ended_and_leaves_nothing(
    index: Any,
    prepare: Any,
    building: UvEnvironments,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    why: str,
) -> None:
    monkeypatch.setattr(sources, "_BUILD", Limits(3.0, Bounds(1 << 20, 50)))
    monkeypatch.setattr(confined, "_MOST_OUTPUT", 1 << 20)
    index.add_source("scorer", "1.0", "2023-01-01", source(before))
    with pytest.raises(Unbuildable, match=why):
        prepare("scorer", using=building)
    assert [path.name for path in (home / "built").iterdir()] == []


@LONG  # setuptools is fetched
def test_a_setup_py_with_an_extension_in_c_is_built(
    index: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = "from setuptools import Extension, setup\n"
    extension, code, expected = "[]", "", "0"
    if shutil.which("gcc") and (Path(sysconfig.get_path("include")) / "Python.h").exists():
        extension, expected = "[Extension('scorer_c', ['scorer_c.c'])]", "42"
        code = (
            '#include <Python.h>\nstatic struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "scorer_c"};\n'
            "PyMODINIT_FUNC PyInit_scorer_c(void) { PyObject *o = PyModule_Create(&m);"
            ' PyModule_AddIntConstant(o, "answer", 42); return o; }\n'
        )
    setup += f"setup(name='scorer', version='1.0', py_modules=['scorer'], ext_modules={extension})\n"
    module = "try:\n    from scorer_c import answer\nexcept ImportError:\n    answer = 0\n"
    index.add_source("scorer", "1.0", "2023-01-01", {"setup.py": setup, "scorer_c.c": code, "scorer.py": module})
    monkeypatch.setenv("UV_FIND_LINKS", str(index.folder))
    monkeypatch.delenv("UV_CACHE_DIR")
    environments = UvEnvironments(home, always=(), accelerate=False, build_from_source=True)
    built = environments.prepare(Requirements(("scorer==1.0",), None), lambda _: None, lambda _: None)
    assert run(home, built, "import scorer; print(scorer.answer)") == expected
