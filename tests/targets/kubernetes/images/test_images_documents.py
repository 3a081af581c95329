"""The documents of images: what is read of a base, and bills of materials."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cyclonedx.schema
import jsonschema_rs
import pytest

from serinus.core.errors import InvalidInput
from serinus.core.ports import LockedPackage
from serinus.core.release import Release, ServingSettings
from serinus.targets.kubernetes.images import Reference, bases, documents, sbom
from serinus.targets.kubernetes.images.layers import Layer
from serinus.targets.kubernetes.images.references import address, credentials_key, repository_part
from serinus.targets.kubernetes.images.registry import MANIFEST, Manifest, Registry

SCHEMAS = Path(cyclonedx.schema.__file__).parent / "_res"
DOCKER = "application/vnd.docker.distribution.manifest"
LAYER = Layer("sha256:" + "1" * 64, "sha256:" + "2" * 64, 10)
BASE = Reference("r.example", "library/base", digest="sha256:" + "b" * 64)
RELEASE = Release("m-1-aaaaaa", "m", "1", "a" * 64, "e" * 64, ServingSettings(), datetime.now(UTC))


def retrieve(address: str) -> Any:
    return json.loads((SCHEMAS / address.rpartition("/")[2]).read_text())


@pytest.mark.parametrize(
    "packages",
    [(), (LockedPackage("numpy", "2.2.6"), LockedPackage("torch", "2.5.1+cpu"), LockedPackage("by-address", ""))],
)
def test_a_bill_of_materials_is_valid_cyclonedx(packages: tuple[LockedPackage, ...]) -> None:
    document = json.loads(sbom.bill(RELEASE, packages, "3.11.7", BASE, "identity"))
    schema = json.loads((SCHEMAS / "bom-1.6.SNAPSHOT.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema, retriever=retrieve)
    assert [error.message for error in validator.iter_errors(document)] == []
    purls = [one["purl"] for one in document["components"]]
    assert purls[1] == "pkg:generic/python@3.11.7"
    if packages:
        assert purls[2:] == ["pkg:pypi/by-address", "pkg:pypi/numpy@2.2.6", "pkg:pypi/torch@2.5.1%2Bcpu"]
    del document["components"][0]["name"]
    assert list(validator.iter_errors(document))


def test_the_same_image_has_the_same_bill() -> None:
    first = sbom.bill(RELEASE, [LockedPackage("a", "1"), LockedPackage("b", "2")], "3.11.7", BASE, "one")
    assert first == sbom.bill(RELEASE, [LockedPackage("b", "2"), LockedPackage("a", "1")], "3.11.7", BASE, "one")
    assert first != sbom.bill(RELEASE, [LockedPackage("a", "1"), LockedPackage("b", "2")], "3.11.7", BASE, "two")


@pytest.fixture
def pushed(client: Registry) -> Any:
    """Pushes a base; its reference. `document` and `config` change what it consists of."""
    digest = client.push_bytes("tests/bases", b"a layer")

    def push(kind: str = DOCKER + ".v2+json", config: Any = None, layers: Any = None, index: Any = None) -> Reference:
        usual = {
            "os": "linux", "architecture": "amd64", "history": [{"created_by": "x"}],
            "config": {"Env": ["PATH=/usr/bin", "A=b=c"], "Labels": {"l": "1"}, "User": "0", "Entrypoint": ["/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [LAYER.diff_id]},
        }  # fmt: skip
        content = json.dumps(usual | (config or {})).encode()
        client.push_bytes("tests/bases", content)
        layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": digest, "size": 7}
        about = "application/vnd.docker.container.image.v1+json"
        manifest = {
            "schemaVersion": 2, "mediaType": kind, "config": documents.descriptor(about, content),
            "layers": [layer] if layers is None else layers,
        }  # fmt: skip
        whole = Manifest(json.dumps(manifest).encode(), kind)
        client.put_manifest("tests/bases", whole.digest, whole)
        if index is not None:
            entry = documents.descriptor(kind, whole.content)
            listed = {"schemaVersion": 2, "mediaType": DOCKER + ".list.v2+json", "manifests": index(entry)}
            whole = Manifest(json.dumps(listed).encode(), DOCKER + ".list.v2+json")
            client.put_manifest("tests/bases", whole.digest, whole)
        return Reference(client.name, "tests/bases", digest=whole.digest)

    return push


def test_an_image_that_docker_has_pushed_is_a_base(client: Registry, pushed: Any) -> None:
    base = bases.read(client, pushed(), "linux/amd64")
    assert [one["mediaType"] for one in base.layers] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
    assert base.diff_ids == (LAYER.diff_id,)
    assert base.environment == ("PATH=/usr/bin", "A=b=c")
    config = json.loads(documents.config(base, [LAYER], {"title": "m"}, shared_library=True))
    assert config["rootfs"]["diff_ids"] == [LAYER.diff_id, LAYER.diff_id]
    about = config["config"]
    assert about["User"] == "65532:65532"
    assert "/sh" not in about["Entrypoint"]
    assert about["Labels"] == {"l": "1", "title": "m"}
    assert {"PATH=/usr/bin", "A=b=c", "LD_LIBRARY_PATH=/opt/python/lib"} <= set(about["Env"])
    plain = json.loads(documents.config(base, [LAYER], {}, shared_library=False))
    assert not [one for one in plain["config"]["Env"] if one.startswith("LD_LIBRARY_PATH")]


def test_the_platform_is_chosen_from_an_index(client: Registry, pushed: Any) -> None:
    attestation = {"os": "unknown", "architecture": "unknown"}

    def listed(entry: Any) -> Any:
        return [entry | {"platform": attestation}, entry | {"platform": {"os": "linux", "architecture": "amd64"}}]

    reference = pushed(index=listed)
    assert bases.read(client, reference, "linux/amd64").platform == {"os": "linux", "architecture": "amd64"}
    with pytest.raises(InvalidInput, match="is not for linux/arm64"):
        bases.read(client, reference, "linux/arm64")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": {"architecture": "s390x"}}, "is not for linux/amd64"),
        ({"config": {"rootfs": {"diff_ids": []}}}, "its configuration does not have its layers"),
        ({"config": {"rootfs": None}}, "is not an image that can be built on"),
        (
            {"layers": [{"mediaType": "application/x", "digest": LAYER.digest, "size": 1}], "kind": MANIFEST},
            "it has a layer of an unknown kind",
        ),
    ],
)
def test_what_is_no_base_is_said(client: Registry, pushed: Any, changes: Any, words: str) -> None:
    if "layers" in changes:
        changes["layers"][0]["digest"] = client.push_bytes("tests/bases", b"a layer")
    with pytest.raises(InvalidInput, match=words):
        bases.read(client, pushed(**changes), "linux/amd64")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("r.example/a/b:t", ("r.example", "a/b", "t", "")),
        (f"r.example:5000/a@{BASE.digest}", ("r.example:5000", "a", "", BASE.digest)),
        (f"localhost/a:t@{BASE.digest}", ("localhost", "a", "t", BASE.digest)),
        ("[::1]:5000/a", ("[::1]:5000", "a", "", "")),
    ],
)
def test_references_are_read_and_written(text: str, parts: tuple[str, ...]) -> None:
    reference = Reference.parse(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == parts
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    ["", "debian", "library/debian:12", "r.example/", "r.example/A", "r.example/a:", "r.example/a@",
     "r.example/a@sha256:1", "r.example/../a", "https://r.example/a", "r.example/a:t:u", "user:secret@r.example/a"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Reference.parse(text)
    assert "secret" not in str(caught.value)


def test_registries_on_this_machine_are_asked_without_tls_and_others_with_it() -> None:
    assert address("127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert address("localhost") == "http://localhost"
    assert address("[::1]:5000") == "http://[::1]:5000"
    assert address("r.example") == "https://r.example"
    assert address("10.0.0.1:5000", plain=["10.0.0.1:5000"]) == "http://10.0.0.1:5000"
    assert address("docker.io") == "https://registry-1.docker.io"
    assert credentials_key("docker.io") == "https://index.docker.io/v1/"


@pytest.mark.parametrize(("name", "part"), [("Card.Fraud_v2", "card-fraud-v2"), ("_x_", "x"), ("__", "model")])
def test_every_name_of_a_model_is_a_name_of_a_repository(name: str, part: str) -> None:
    assert repository_part(name) == part
    assert str(Reference.parse(f"r.example/{part}")).endswith(part)
