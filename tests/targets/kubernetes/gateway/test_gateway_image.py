"""The image of gateways, pushed to a real registry."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import registries
from locked_packages import names, why_not

import serinus
from serinus.core.home import Home
from serinus.targets.kubernetes.gateway.image import IMAGE
from serinus.targets.kubernetes.images import Place, Reference, debian
from serinus.targets.kubernetes.images.programs import code
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries
from serinus.wiring.gateways import push_gateway_image

PREFIX = Path(sys.base_prefix)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "registry").mkdir()
    with registries.serving(tmp_path / "registry") as host:
        yield host


@pytest.mark.long
def test_the_image_has_what_a_gateway_runs_and_is_made_once(tmp_path: Path, host: str) -> None:
    (tmp_path / "base" / "etc").mkdir(parents=True)
    (tmp_path / "base" / "etc" / "motd").write_text("base\n")
    found = Registries(DockerConfig(tmp_path), plain=[host])
    place = Place(Reference.parse(f"{host}/serinus"), debian.push(found.of(host), "base", tmp_path / "base"))
    said: list[str] = []
    home = Home(tmp_path / "home")
    reference = push_gateway_image(home, found.of, place, PREFIX, said.append)
    assert said[0] == "building the image of gateways for linux/amd64"
    said.clear()
    assert push_gateway_image(home, found.of, place, PREFIX, said.append) == reference
    assert said == []

    manifest = found.of(host).manifest(reference.repository, reference.digest)
    assert manifest is not None
    files: dict[str, int] = {}
    for layer in manifest.document()["layers"]:
        found.of(host).download(reference.repository, layer["digest"], tmp_path / "layer")
        with tarfile.open(tmp_path / "layer") as archive:
            files |= {one.name: one.mode for one in archive}
        (tmp_path / "layer").unlink()
    packages = f"opt/environment/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    assert files[f"{packages}/envoy/_bin/envoy"] == 0o755
    assert files["opt/python/bin/python3"]
    assert "opt/serinus/code/serinus/targets/kubernetes/gateway/agent.py" in files
    assert "etc/motd" in files
    assert not any("__pycache__" in name for name in files)
    config = json.loads(found.of(host).content(reference.repository, manifest.document()["config"]["digest"]))
    assert config["config"]["User"] == "65532:65532"


def test_what_runs_in_a_gateway_needs_no_package_that_is_not_in_its_image() -> None:
    assert "lightkube" in names(IMAGE.lock)
    gateway = "serinus.targets.kubernetes.gateway"
    assert why_not(IMAGE.lock, [f"{gateway}.__main__", f"{gateway}.proxy"]) == ""


def test_gateways_run_the_serinus_that_tells_them_what_to_do() -> None:
    entries = {one.name: one for one in code()}
    root = Path(str(serinus.__file__)).parent
    inside = {name.removeprefix("opt/serinus/code/serinus/") for name in entries}
    assert {str(path.relative_to(root)) for path in root.rglob("*.py")} <= inside
    [told] = [one for name, one in entries.items() if name.endswith(".dist-info/METADATA")]
    assert told.content is not None
    assert b"Name: serinus\n" in told.content
