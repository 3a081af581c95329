"""Code of a package does not run while an environment is made, and what makes it learns nothing of the operator."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from serinus.backends.uv import UvEnvironments
from serinus.backends.uv.command import Uv
from serinus.core.errors import Unbuildable
from serinus.core.release import Requirements

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_package_without_a_wheel_is_refused_by_its_name_and_its_setup_py_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "ran"
    files = {
        "setup.py": f"open({str(proof)!r}, 'w').close()\nimport setuptools\n"
        "setuptools.setup(name='scorer', version='1.0')\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: scorer\nVersion: 1.0\n",
    }
    (tmp_path / "packages").mkdir()
    with tarfile.open(tmp_path / "packages" / "scorer-1.0.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"scorer-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "packages"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    environments = UvEnvironments(tmp_path / "environments", always=(), accelerate=False)
    with pytest.raises(Unbuildable, match=r"scorer.* has no wheel for this Python and platform"):
        environments.prepare(Requirements(("scorer==1.0",), VERSION), lambda _: None, lambda _: None)
    assert not proof.exists()


@pytest.mark.parametrize("line", ["--index-url http://127.0.0.1:9/${HOME}", "x @ http://127.0.0.1:9/${HOME}/x.whl"])
def test_a_requirement_that_names_a_variable_is_refused_or_left_out(tmp_path: Path, line: str) -> None:
    environments = UvEnvironments(tmp_path / "environments", always=(), accelerate=False)
    said: list[str] = []
    with pytest.raises(Unbuildable) as caught:
        environments.prepare(Requirements((line, "./no.tar.gz"), VERSION), lambda _: None, said.append)
    assert "names a variable" in str(caught.value) or "is source code" in str(caught.value)
    assert str(Path.home()) not in str(caught.value)


def test_uv_gets_no_variables_but_those_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, program = tmp_path / "told", tmp_path / "uv"
    program.write_text(f"#!/bin/sh\nexport -p > {told}\n")
    program.chmod(0o755)
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "SERINUS_TOKEN", "LD_PRELOAD", "PYTHONPATH"):
        monkeypatch.setenv(name, "a-secret")
    monkeypatch.setenv("UV_INDEX_URL", "http://packages.example.org/simple")
    Uv(program).run("version")
    assert "a-secret" not in told.read_text()
    assert "packages.example.org" in told.read_text()
