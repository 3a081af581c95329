"""The image of the control plane: what is in it, and that it is enough."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import registries
import uv
from locked_packages import names, why_not

from serinus.targets.kubernetes.control.image import IMAGE
from serinus.targets.kubernetes.images import Place, Reference, debian
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries
from serinus.wiring.control_plane import push_control_image

ROOT = Path(__file__).parents[4]
EXPORT = ("export", "--frozen", "--quiet", "--no-dev", "--extra", "kubernetes", "--extra", "postgres")
PROGRAMS = ("wiring.control", "wiring.cluster", "wiring.collectors", "wiring.sharing", "wiring.installing", "cli.app")


def test_its_packages_are_those_of_uv_lock() -> None:
    command = [uv.find_uv_bin(), *EXPORT, "--no-emit-workspace", "--no-header", "--no-annotate"]
    exported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    locked = [line for line in IMAGE.lock.read_text().splitlines() if not line.startswith("#")]
    assert locked == exported.splitlines()


def test_what_runs_in_it_needs_no_other_package() -> None:
    assert {"uv", "lightkube", "psycopg-binary", "cryptography"} <= names(IMAGE.lock)
    assert "mlflow" not in names(IMAGE.lock)  # That server runs elsewhere.
    modules = [IMAGE.module, *(f"serinus.{name}" for name in PROGRAMS), "serinus.predictions.process"]
    assert why_not(IMAGE.lock, modules) == ""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "registry").mkdir()
    with registries.serving(tmp_path / "registry") as host:
        yield host


@pytest.mark.long
def test_the_image_has_what_a_control_plane_runs_and_is_made_once(tmp_path: Path, host: str) -> None:
    (tmp_path / "base" / "usr" / "lib" / "git-core").mkdir(parents=True)
    (tmp_path / "base" / "usr" / "lib" / "git-core" / "git").write_text("#!/bin/sh\n")
    found = Registries(DockerConfig(tmp_path), plain=[host])
    place = Place(Reference.parse(f"{host}/serinus"), debian.push(found.of(host), "base", tmp_path / "base"))
    said: list[str] = []
    reference = push_control_image(found.of, place, Path(sys.base_prefix), said.append)
    assert said[0] == "building the image of the control plane for linux/amd64"
    said.clear()
    assert push_control_image(found.of, place, Path(sys.base_prefix), said.append) == reference
    assert said == []

    manifest = found.of(host).manifest(reference.repository, reference.digest)
    assert manifest is not None
    assert reference.repository == "serinus/control"
    files: dict[str, tarfile.TarInfo] = {}
    for layer in manifest.document()["layers"]:
        found.of(host).download(reference.repository, layer["digest"], tmp_path / "layer")
        with tarfile.open(tmp_path / "layer") as archive:
            files |= {one.name: one for one in archive}
        (tmp_path / "layer").unlink()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = f"opt/environment/lib/{python}/site-packages"
    assert files[f"{packages}/bin/uv"].mode == 0o755
    assert [name for name in files if name.startswith(f"{packages}/bin/")] == [f"{packages}/bin/uv"]
    assert files["usr/bin/git"].linkname == "/usr/lib/git-core/git"
    assert "opt/serinus/code/serinus/targets/kubernetes/control/starting.py" in files
    assert "opt/serinus/code/serinus/targets/kubernetes/gateway/gateway.lock" in files  # It builds that image.

    told = json.loads(found.of(host).content(reference.repository, manifest.document()["config"]["digest"]))["config"]
    assert told["Entrypoint"] == ["/opt/python/bin/python3", "-P", "-m", "serinus.targets.kubernetes.control"]
    assert f"PYTHONPATH=/opt/serinus/code:/{packages}" in told["Env"]
    assert told["User"] == "65532:65532"
