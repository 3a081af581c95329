"""Images that run: unpacked and entered as root directories, which needs neither a cluster nor rights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from serinus.backends.uv import UvEnvironments
from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.core.release import Release, Requirements, ServingSettings
from serinus.targets.kubernetes.images import Place, Reference, debian
from serinus.targets.kubernetes.images.registry import DockerConfig, Registry
from serinus.wiring.control_plane import push_control_image
from serinus.wiring.images import build_images

pytestmark = pytest.mark.long

PYTHONS = {
    "3.8": "numpy==1.24.4",
    f"{sys.version_info.major}.{sys.version_info.minor}": "numpy==2.2.6",
    "3.13": "numpy==2.2.6",
}
"""With a version of numpy that has wheels for it."""
PROGRAM = """
import sys
sys.path.append("/opt/serinus/runtime")
sys.executable, sys.prefix, sys.exec_prefix = "/opt/environment/bin/python", "/opt/environment", "/opt/environment"
before = list(sys.path)
from serinus_runtime.base import accelerators
from serinus_runtime.isolation import confine
confine.with_packages()
import bz2, ctypes, hashlib, json, lzma, sqlite3, ssl, zlib
import numpy
accelerators.find()
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "numpy": numpy.__file__,
    "sum": int(numpy.arange(5).sum()),
    "orjson": accelerators.orjson is not None,
    "certificates": len(ssl.create_default_context().get_ca_certs()),
    "outside": [one for one in before if not one.startswith("/opt/")],
}))
"""


@pytest.fixture(scope="module")
def debian_base(registry_server: str, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """From Debian's packages, where this machine can download them."""
    registry = Registry(registry_server, DockerConfig(tmp_path_factory.mktemp("nobody")))
    try:
        first = debian.push(registry, "run/base")
    except Unavailable as error:
        pytest.skip(f"there is no base image: {error}")
    assert debian.push(registry, "run/again").digest == first.digest
    return first


@pytest.fixture
def unshare() -> list[str]:
    """A command that enters a directory as its root, as an ordinary user."""
    enter = shutil.which("unshare")
    change = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not enter or not change or subprocess.run([enter, "-Ur", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make user namespaces")
    return [enter, "-Ur", change]


def unpacked(reference: Reference, root: Path) -> Any:
    """The configuration of the image, whose layers are unpacked in their order below `root`."""
    root.mkdir()
    url = f"http://{reference.registry}/v2/{reference.repository}"
    headers = {"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"}

    def get(path: str) -> httpx.Response:
        return httpx.get(f"{url}/{path}", headers=headers).raise_for_status()

    manifest = get(f"manifests/{reference.digest}").json()
    for one in manifest.get("manifests", ()):  # An index, of one platform.
        manifest = get(f"manifests/{one['digest']}").json()
    for layer in manifest["layers"]:
        content = get(f"blobs/{layer['digest']}").content
        subprocess.run(["tar", "-xz", "--no-same-owner", "-C", root], input=content, check=True)
    return get(f"blobs/{manifest['config']['digest']}").json()


@pytest.fixture
def image(
    request: pytest.FixtureRequest, debian_base: Reference, registry_server: str, tmp_path: Path
) -> Iterator[tuple[str, Reference]]:
    """Of a release in an environment of the Python version that is the parameter."""
    home, version = Home(tmp_path / "home"), request.param
    environments = UvEnvironments(home.environments, always=(), accelerate=False)
    interpreters = [one for one in environments._interpreters.found() if one.text.startswith(f"{version}.")]
    if not interpreters:
        pytest.skip(f"there is no Python {version} on this machine")
    artifact = home.artifact("a" * 64)
    artifact.mkdir(parents=True)
    (artifact / "MLmodel").write_text("flavors: {}\n")
    wanted = Requirements((PYTHONS[version],), interpreters[0].text)
    environment = environments.prepare(wanted, lambda _: None, lambda _: None)
    release = Release("m-1-aaaaaa", "m", "1", "a" * 64, environment.digest, ServingSettings(), datetime.now(UTC))
    images = build_images(home, Place(Reference(registry_server, f"run/{version}"), debian_base))
    yield version, images.build_and_push(release)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("image", PYTHONS, indirect=True)
def test_python_starts_and_imports_the_packages_of_the_environment(
    image: tuple[str, Reference], unshare: list[str], tmp_path: Path
) -> None:
    version, reference = image
    config = unpacked(reference, tmp_path / "root")["config"]
    command = [*config["Entrypoint"][:-1], PROGRAM]
    done = subprocess.run(
        [*unshare, tmp_path / "root", *command],
        env=dict(one.partition("=")[::2] for one in config["Env"]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["certificates"] > 100
    assert {name: told[name] for name in ("version", "sum", "orjson", "outside", "numpy")} == {
        "version": version,
        "sum": 10,
        "orjson": True,
        "outside": [],
        "numpy": f"/opt/environment/lib/python{version}/site-packages/numpy/__init__.py",
    }


CONTROL = """
import json, subprocess, sys
from importlib.metadata import version
import cryptography.x509, deltalake, polars, psycopg, uv
import serinus.wiring.cluster, serinus.wiring.control, serinus.wiring.installing
def said(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()
print(json.dumps({
    "created": said("git", "init", "--bare", "--quiet", "--template=", "/tmp/fleet"),
    "https": said("git", "ls-remote", "https://127.0.0.1:1/fleet.git"),
    "uv": said(uv.find_uv_bin(), "--version").split()[0],
    "version": version("serinus"),
    "prefix": sys.base_prefix,
}))
"""


def test_the_image_of_the_control_plane_runs_its_programs(
    registry_server: str, debian_base: Reference, unshare: list[str], tmp_path: Path
) -> None:
    """On Debian's base with git: git speaks HTTPS, uv is found, and what the processes import is there."""
    registry = Registry(registry_server, DockerConfig(tmp_path))
    base = debian.push(registry, "run/control-base", git=True)
    assert base.digest != debian_base.digest
    place = Place(Reference(registry_server, "run"), base)
    reference = push_control_image(lambda _: registry, place, Path(sys.base_prefix), lambda _: None)
    config = unpacked(reference, tmp_path / "root")["config"]
    environment = dict(one.partition("=")[::2] for one in config["Env"]) | {"HOME": "/tmp", "TMPDIR": "/tmp"}
    (tmp_path / "root" / "dev").mkdir(exist_ok=True)
    (tmp_path / "root" / "dev" / "null").touch()  # As good as the device that a container gets; only root makes one.

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*unshare, tmp_path / "root", *command], env=environment, capture_output=True, text=True, timeout=170
        )

    done = run(config["Entrypoint"][0], "-P", "-c", CONTROL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "Failed to connect to 127.0.0.1 port 1" in told.pop("https")
    assert told == {"created": "", "uv": "uv", "version": version("serinus"), "prefix": "/opt/python"}

    environment |= {"SERINUS_NAMESPACE": "serinus", "SERINUS_REPLICAS": "2"}
    done = run(*config["Entrypoint"], "--config", "/tmp/config.yaml", "--disk", "/tmp")
    assert done.returncode == 1
    assert "/tmp/config.yaml, cannot be read: No such file" in done.stderr
