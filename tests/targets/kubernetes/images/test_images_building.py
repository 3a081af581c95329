"""Images of releases, from a home with real environments, in a real registry."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from registries import Proxy

from serinus.backends.uv import UvEnvironments, UvPackages
from serinus.core.errors import InvalidInput, Unavailable, Unbuildable
from serinus.core.home import Home
from serinus.core.release import Compiled, Release, Requirements, ServingSettings
from serinus.targets.kubernetes.images import Images, Interpreters, Place, Reference, debian, documents
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries, Registry

pytestmark = pytest.mark.long

ARTIFACT, GRAPH = "a" * 64, "b" * 64
LOCKS = ("six==1.17.0", "six==1.16.0")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """With two environments, an artifact and a graph."""
    home = Home(tmp_path_factory.mktemp("home"))
    for name, directory in (("MLmodel", home.artifact(ARTIFACT)), ("model.onnx", home.graph(GRAPH))):
        directory.mkdir(parents=True)
        (directory / name).write_text(f"content of {name}")
    return home


@pytest.fixture(scope="module")
def environments(home: Home) -> list[str]:
    """The digests of both."""
    made = UvEnvironments(home.environments, interpreters=[Path(sys.executable)], always=(), accelerate=False)
    version = ".".join(map(str, sys.version_info[:3]))
    return [made.prepare(Requirements((lock,), version), lambda _: None, lambda _: None).digest for lock in LOCKS]


@pytest.fixture(scope="module")
def base(registry_server: str, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A base with one file, which is enough for what is never started."""
    root = tmp_path_factory.mktemp("root")
    (root / "etc").mkdir()
    (root / "etc" / "os-release").write_text("ID=test\n")
    nobody = DockerConfig(root)
    return debian.push(Registry(registry_server, nobody), "tests/base", root)


@dataclass(slots=True)
class Builder:
    """Builds images as a control plane would, past the proxy or through it."""

    home: Home
    base: Reference
    proxy: Proxy
    nobody: DockerConfig
    kept: Path
    """Layers that were made before, for another repository."""
    directory: Path
    prefix: str

    def images(self, **changes: Any) -> Images:
        """Of a control plane that has just started; `directory`: of one with nothing on its disk."""
        named = changes.pop("directory", None)
        directory = self.directory / named if named else self.kept
        interpreters = Interpreters(changes.pop("interpreters", ()))
        place = Place(Reference(self.proxy.host, self.prefix), changes.pop("base", self.base), **changes)
        return Images(
            self.home, directory, UvPackages(self.home.environments), Registries(self.nobody).of, place, interpreters
        )

    def document(self, reference: Reference, digest: str = "", kind: str = "manifests") -> Any:
        url = f"http://{self.proxy.upstream}/v2/{reference.repository}/{kind}/{digest or reference.digest}"
        accepted = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        answer = httpx.get(url, headers={"Accept": accepted}).raise_for_status()
        return answer.json() if kind == "manifests" or answer.content[:1] == b"{" else answer.content

    def manifest(self, reference: Reference) -> Any:
        """Of the only platform."""
        (one,) = self.document(reference)["manifests"]
        return self.document(reference, one["digest"])

    def layers(self, reference: Reference) -> list[dict[str, tarfile.TarInfo]]:
        return [self._files(reference, layer) for layer in self.manifest(reference)["layers"]]

    def layer(self, reference: Reference, index: int) -> dict[str, tarfile.TarInfo]:
        """One of them. The interpreter's is large."""
        return self._files(reference, self.manifest(reference)["layers"][index])

    def _files(self, reference: Reference, layer: Any) -> dict[str, tarfile.TarInfo]:
        content = self.document(reference, layer["digest"], "blobs")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            return {one.name: one for one in archive}


@pytest.fixture
def builder(
    home: Home, environments: list[str], base: Reference, proxy: Proxy, nobody: DockerConfig, tmp_path: Path
) -> Builder:
    prefix = f"t{tmp_path.name.lower().replace('_', '-')}"
    return Builder(home, base, proxy, nobody, home.images, tmp_path / "kept", prefix)


@pytest.fixture
def release(environments: list[str]) -> Release:
    return Release(
        "card-fraud-7-3f9a2c", "card-fraud", "7", ARTIFACT, environments[0], ServingSettings(), datetime.now(UTC)
    )


def compiled(release: Release, environments: list[str]) -> Release:
    return replace(release, compiled=Compiled(GRAPH, environments[1]))


def test_an_image_has_a_layer_for_each_part_in_their_order(builder: Builder, release: Release) -> None:
    layers = builder.layers(builder.images().build_and_push(release))
    assert len(layers) == 5
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for layer, name in zip(
        layers,
        [
            "etc/os-release", f"opt/python/bin/python{version}",
            f"opt/environment/lib/python{version}/site-packages/six.py",
            "opt/serinus/runtime/serinus_runtime/__init__.py", "opt/model/MLmodel",
        ],
        strict=True,
    ):  # fmt: skip
        assert name in layer
    assert not [name for name in layers[1] if "__pycache__" in name or "site-packages" in name]


def test_the_environment_is_laid_out_as_the_runtime_finds_it(builder: Builder, release: Release) -> None:
    environment = builder.layer(builder.images().build_and_push(release), 2)
    assert environment["opt/environment/bin/python"].linkname == "/opt/python/bin/python3"
    assert "opt/environment/pyvenv.cfg" in environment
    assert any(name.startswith("opt/environment/accelerators/orjson/") for name in environment)
    assert not [name for name in environment if name.endswith((".lock", "direct_url.json"))]
    assert any("/__pycache__/six." in name for name in environment)


def test_a_compiled_release_has_its_graph_and_the_small_environment(
    builder: Builder, release: Release, environments: list[str]
) -> None:
    reference = builder.images().build_and_push(compiled(release, environments))
    layers = builder.layers(reference)
    assert "opt/graph/model.onnx" in layers[4]
    assert not [name for layer in layers for name in layer if name.startswith("opt/model")]
    assert any("six-1.16.0" in name for name in layers[2])


def test_the_configuration_is_what_a_pod_needs(builder: Builder, release: Release, base: Reference) -> None:
    reference = builder.images().build_and_push(release)
    manifest = builder.manifest(reference)
    config = builder.document(reference, manifest["config"]["digest"], "blobs")
    about = config["config"]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert about["Entrypoint"][:3] == ["/opt/python/bin/python3", "-I", "-S"]
    assert "serinus_runtime.pod.main" in about["Entrypoint"][-1]
    assert (about["User"], about["WorkingDir"]) == ("65532:65532", "/scratch")
    assert set(about["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}
    labels = about["Labels"]
    assert (labels["org.opencontainers.image.title"], labels["org.opencontainers.image.version"]) == ("card-fraud", "7")
    assert labels["org.opencontainers.image.base.digest"] == base.digest
    blobs = [builder.document(reference, one["digest"], "blobs") for one in manifest["layers"]]
    found = [f"sha256:{hashlib.sha256(gzip.decompress(one)).hexdigest()}" for one in blobs]
    assert config["rootfs"]["diff_ids"] == found


def test_an_image_for_trials_has_the_layers_of_the_release(
    builder: Builder, release: Release, environments: list[str], proxy: Proxy
) -> None:
    images = builder.images()
    tried = images.for_trial(release.artifact_digest, release.environment_digest)
    assert tried.repository == f"{builder.prefix}/trials"
    proxy.requests.clear()
    assert images.for_trial(release.artifact_digest, release.environment_digest) == tried
    assert [method for method, _ in proxy.requests] == ["GET"]
    assert images.for_trial(release.artifact_digest, environments[1]) != tried
    released = images.build_and_push(release)
    assert builder.manifest(released)["layers"] == builder.manifest(tried)["layers"]
    # The layer of the model was not sent again.
    own = builder.manifest(tried)["layers"][-1]["digest"]
    assert not [path for method, path in proxy.requests if method == "PUT" and own in unquote(path)]


def test_an_image_to_scan_a_model_in_has_no_environment(builder: Builder, release: Release) -> None:
    layers = builder.layers(builder.images().for_trial(release.artifact_digest, None))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for layer, name in zip(
        layers,
        [
            "etc/os-release", f"opt/python/bin/python{version}",
            "opt/serinus/runtime/serinus_runtime/pod/question.py", "opt/model/MLmodel",
        ],
        strict=True,
    ):  # fmt: skip
        assert name in layer


def test_an_image_that_is_there_is_answered_at_once(builder: Builder, release: Release, proxy: Proxy) -> None:
    first = builder.images().build_and_push(release)
    proxy.requests.clear()
    sent = proxy.sent
    assert builder.images().build_and_push(release) == first
    assert [method for method, _ in proxy.requests] == ["GET"]
    assert proxy.sent == sent
    # Also by a builder that has never made it, and for a release that only answers in another way.
    other = replace(release, id="card-fraud-7-aaaaaa", settings=ServingSettings(timeout_ms=1))
    assert builder.images(directory="fresh").build_and_push(other) == first
    assert proxy.sent == sent


def test_two_builders_make_the_same_image(builder: Builder, release: Release) -> None:
    first = builder.images().build_and_push(release)
    builder.prefix += "-other"
    said: list[str] = []
    assert builder.images(directory="elsewhere").build_and_push(release, said.append).digest == first.digest
    assert said[0] == "building the image of card-fraud@7 for linux/amd64"
    assert f"installing the packages of environment {release.environment_digest[:12]} for linux/amd64" in said
    assert said[-1].startswith("pushed the image of card-fraud@7: 127.0.0.1:")


def test_twenty_models_on_two_locks_push_two_environments(
    builder: Builder, release: Release, environments: list[str], home: Home, proxy: Proxy
) -> None:
    images, pushed = builder.images(), []
    for number in range(20):
        artifact = hashlib.sha256(str(number).encode()).hexdigest()
        home.artifact(artifact).mkdir()
        (home.artifact(artifact) / "MLmodel").write_text(f"model {number}")
        before = proxy.sent
        images.build_and_push(
            replace(
                release, model=f"model-{number}", artifact_digest=artifact, environment_digest=environments[number % 2]
            )
        )
        pushed.append(proxy.sent - before)
    assert min(pushed[:2]) > 100_000
    assert max(pushed[2:]) < 20_000
    # A control plane that has lost its disk sends no more than that.
    last = Images(
        home, builder.directory / "fresh", UvPackages(home.environments), Registries(builder.nobody).of,
        Place(Reference(proxy.host, builder.prefix), builder.base),
    )  # fmt: skip
    before = proxy.sent
    last.build_and_push(replace(release, model="one-more"))
    assert proxy.sent - before < 20_000
    assert not list((builder.directory / "fresh").glob("environment-*.tar.gz"))


def test_where_the_registry_mounts_nothing_everything_is_sent(builder: Builder, release: Release, proxy: Proxy) -> None:
    proxy.answer = lambda method, path: (405, {}, b"") if method == "POST" and "mount=" in path else None
    reference = builder.images().build_and_push(release)
    assert len(builder.layers(reference)) == 5


def test_a_push_that_was_cut_off_is_finished_by_the_next(builder: Builder, release: Release, proxy: Proxy) -> None:
    proxy.answer = lambda method, path: (507, {}, b"") if method == "PUT" and "/manifests/" in path else None
    with pytest.raises(Unavailable, match="is full or over its quota"):
        builder.images().build_and_push(release)
    proxy.answer = lambda method, path: None
    assert len(builder.layers(builder.images().build_and_push(release))) == 5


def test_the_bill_of_materials_refers_to_the_image(builder: Builder, release: Release, environments: list[str]) -> None:
    reference = builder.images().build_and_push(release)
    (image,) = builder.document(reference)["manifests"]
    referrers = builder.document(reference, image["digest"].replace(":", "-"))
    (one,) = referrers["manifests"]
    assert one["artifactType"] == "application/vnd.cyclonedx+json"
    referrer = builder.document(reference, one["digest"])
    assert referrer["subject"]["digest"] == image["digest"]
    bill = builder.document(reference, referrer["layers"][0]["digest"], "blobs")
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": ARTIFACT}]
    purls = {one["purl"] for one in bill["components"]}
    assert "pkg:pypi/six@1.17.0" in purls
    assert any(one.startswith("pkg:generic/python@3.") for one in purls)
    assert any(one.startswith("pkg:oci/base@sha256%3A") for one in purls)


def test_a_registry_that_keeps_referrers_gets_no_tag_for_them(builder: Builder, release: Release, proxy: Proxy) -> None:
    proxy.headers = lambda method, path, body: {"OCI-Subject": "sha256:..."} if b'"subject"' in body else {}
    builder.images().build_and_push(release)
    assert not [path for method, path in proxy.requests if method == "PUT" and "/manifests/sha256-" in path]


def test_what_others_refer_to_an_image_with_stays(builder: Builder, release: Release, proxy: Proxy) -> None:
    reference = builder.images().build_and_push(release)
    (image,) = builder.document(reference)["manifests"]
    images = builder.images()
    from serinus.targets.kubernetes.images.registry import MANIFEST, Manifest

    url = f"http://{proxy.upstream}/v2/{reference.repository}/manifests/{image['digest']}"
    content = httpx.get(url, headers={"Accept": MANIFEST}).content
    images._pusher.refer(reference.repository, Manifest(content, MANIFEST), "text/plain", b"signed")
    images._pusher.refer(reference.repository, Manifest(content, MANIFEST), "text/plain", b"signed")
    referrers = builder.document(reference, image["digest"].replace(":", "-"))["manifests"]
    assert [one["artifactType"] for one in referrers] == ["application/vnd.cyclonedx+json", "text/plain"]


def test_a_base_of_another_registry_is_copied(
    builder: Builder, release: Release, base: Reference, registry_server: str
) -> None:
    assert base.registry == registry_server != builder.proxy.host
    reference = builder.images().build_and_push(release)
    assert "etc/os-release" in builder.layer(reference, 0)
    assert not list(builder.kept.glob(".scratch-*"))


def test_a_base_of_the_same_registry_is_mounted(builder: Builder, release: Release, base: Reference) -> None:
    builder.images(base=replace(base, registry=builder.proxy.host)).build_and_push(release)
    assert not [path for method, path in builder.proxy.requests if method == "GET" and "/blobs/" in path][1:]


def test_a_base_must_be_pinned_there_and_for_the_platform(builder: Builder, release: Release, base: Reference) -> None:
    with pytest.raises(InvalidInput, match="is not pinned by a digest"):
        builder.images(base=replace(base, digest=""))
    with pytest.raises(Unavailable, match="is not in its registry"):
        builder.images(base=replace(base, digest="sha256:" + "0" * 64)).build_and_push(release)
    with pytest.raises(Unbuildable, match=r"no installation of Python 3\.\d+ for linux/arm64") as caught:
        builder.images(platforms=("linux/arm64",)).build_and_push(release)
    assert "linux-aarch64-gnu" in caught.value.hint


def test_an_image_for_two_platforms_holds_the_files_of_each(
    builder: Builder, release: Release, base: Reference, registry_server: str, nobody: DockerConfig, tmp_path: Path
) -> None:
    """The interpreter for arm64 is one by name: nothing of it is started here."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    prefix = tmp_path / "arm64"
    for name, content in (
        (f"bin/python{minor}", b"\x7fELF\x02\x01" + b"\0" * 12 + b"\xb7\0"), (f"lib/python{minor}/os.py", b""),
    ):  # fmt: skip
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_bytes(content)
    both = base_of_two(Registry(registry_server, nobody), base)
    images = builder.images(base=both, platforms=("linux/amd64", "linux/arm64"), interpreters=[prefix])
    reference = images.build_and_push(release)
    manifests = builder.document(reference)["manifests"]
    assert [one["platform"]["architecture"] for one in manifests] == ["amd64", "arm64"]
    for one, machine in zip(manifests, (62, 183), strict=True):
        manifest = builder.document(reference, one["digest"])
        config = builder.document(reference, manifest["config"]["digest"], "blobs")
        assert config["architecture"] == one["platform"]["architecture"]
        content = builder.document(reference, manifest["layers"][2]["digest"], "blobs")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            (library,) = (name for name in archive.getnames() if "/orjson/" in name and name.endswith(".so"))
            file = archive.extractfile(library)
            assert file is not None
            assert int.from_bytes(file.read(20)[18:], "little") == machine
    first, second = (builder.document(reference, one["digest"])["layers"] for one in manifests)
    assert [a["digest"] == b["digest"] for a, b in zip(first, second, strict=True)] == [True, False, False, True, True]


def base_of_two(registry: Registry, base: Reference) -> Reference:
    """An index with the same files for arm64 as well."""
    index = registry.manifest(base.repository, base.digest)
    assert index is not None
    manifest = registry.manifest(base.repository, index.document()["manifests"][0]["digest"])
    assert manifest is not None
    config = registry.content(base.repository, manifest.document()["config"]["digest"])
    other = config.replace(b'"amd64"', b'"arm64"')
    registry.push_bytes(base.repository, other)
    second = documents.manifest(other, manifest.document()["layers"], {})
    registry.put_manifest(base.repository, second.digest, second)
    platforms = ({"os": "linux", "architecture": name} for name in ("amd64", "arm64"))
    both = documents.index(list(zip((manifest, second), platforms, strict=True)), {})
    registry.put_manifest(base.repository, both.digest, both)
    return replace(base, digest=both.digest)


def test_what_cannot_be_in_an_image_is_said_and_nothing_has_the_tag(
    builder: Builder, release: Release, home: Home
) -> None:
    bad = "c" * 64
    home.artifact(bad).mkdir()
    (home.artifact(bad) / "link").symlink_to("/etc/passwd")
    with pytest.raises(Unbuildable, match="'link' is a symbolic link"):
        builder.images().build_and_push(replace(release, artifact_digest=bad))
    assert not [
        path for method, path in builder.proxy.requests if method == "PUT" and "/models/" in path and "manifest" in path
    ]


def test_an_environment_that_is_gone_is_said(builder: Builder, release: Release) -> None:
    with pytest.raises(Unavailable, match="The environment dddddddddddd is not on this machine"):
        builder.images().build_and_push(replace(release, environment_digest="d" * 64))
