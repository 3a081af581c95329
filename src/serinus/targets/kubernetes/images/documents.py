"""The documents of an image: configuration, manifest, index, and what refers to it. The same parts give the same bytes.

The OCI image specification has their forms: https://github.com/opencontainers/image-spec/blob/v1.1.0/spec.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serinus.targets.kubernetes.images import contents
from serinus.targets.kubernetes.images.bases import Base
from serinus.targets.kubernetes.images.layers import Layer
from serinus.targets.kubernetes.images.registry import INDEX, MANIFEST, Manifest, digest_of

CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_CONTENT = b"{}"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PORTS = {"http": 8080, "health": 8081}

Descriptor = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Starts:
    """What an image starts that is not one of a release."""

    entrypoint: tuple[str, ...]
    variables: Mapping[str, str]


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def config(
    base: Base,
    layers: Sequence[Layer],
    labels: Mapping[str, str],
    *,
    shared_library: bool,
    starts: Starts | None = None,
) -> bytes:
    """The configuration of an image with `layers` on `base`. `shared_library`: whether the interpreter is in a library
    beside it. `starts`: None: a release. Whatever the base starts, and as whom, is not inherited."""
    variables = dict(one.partition("=")[::2] for one in base.environment)
    variables.setdefault("PATH", _PATH)
    variables |= {"LANG": "C.UTF-8", "HOME": f"/{contents.SCRATCH}", "TMPDIR": f"/{contents.SCRATCH}"}
    if shared_library:
        variables["LD_LIBRARY_PATH"] = f"/{contents.PYTHON}/lib"
    if starts is not None:
        variables |= starts.variables
    return _json(
        {
            **base.platform,
            "config": {
                "User": f"{contents.USER}:{contents.USER}",
                "ExposedPorts": {f"{port}/tcp": {} for port in PORTS.values()},
                "Env": [f"{name}={value}" for name, value in variables.items()],
                "Entrypoint": list(starts.entrypoint if starts else contents.ENTRYPOINT),
                "WorkingDir": f"/{contents.SCRATCH}",
                "Labels": {**base.labels, **labels},
                "StopSignal": "SIGTERM",
            },
            "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, *(one.diff_id for one in layers)]},
        }
    )


def base_config(architecture: str, layer: Layer) -> bytes:
    """The configuration of an image that others are built on."""
    return _json(
        {
            "os": "linux",
            "architecture": architecture,
            "config": {"Env": [f"PATH={_PATH}"], "User": f"{contents.USER}:{contents.USER}"},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        }
    )


def manifest(configuration: bytes, layers: Sequence[Descriptor], annotations: Mapping[str, str]) -> Manifest:
    return _manifest(
        {"config": descriptor(CONFIG, configuration), "layers": list(layers), "annotations": dict(annotations)}
    )


def index(manifests: Sequence[tuple[Manifest, Mapping[str, str]]], annotations: Mapping[str, str]) -> Manifest:
    """Of one image on several platforms."""
    entries = [descriptor(MANIFEST, one.content) | {"platform": dict(platform)} for one, platform in manifests]
    return _index({"manifests": entries, "annotations": dict(annotations)})


def artifact(kind: str, content: Descriptor, subject: Manifest | None = None) -> Manifest:
    """Something else than an image, of the media type `kind`: about `subject`, where there is one."""
    document: dict[str, Any] = {
        "artifactType": kind,
        "config": descriptor(EMPTY, EMPTY_CONTENT),
        "layers": [dict(content)],
    }
    if subject is not None:
        document["subject"] = descriptor(subject.media_type, subject.content)
    return _manifest(document)


def with_referrer(before: Manifest | None, referrer: Manifest) -> Manifest:
    """The index of what refers to an image, for registries that keep none: `before` with `referrer` in it."""
    known = before.document().get("manifests", []) if before else []
    entry = descriptor(referrer.media_type, referrer.content)
    entry["artifactType"] = referrer.document()["artifactType"]
    return _index({"manifests": [*(one for one in known if one.get("digest") != entry["digest"]), entry]})


def _manifest(document: dict[str, Any]) -> Manifest:
    return Manifest(_json({"schemaVersion": 2, "mediaType": MANIFEST, **document}), MANIFEST)


def _index(document: dict[str, Any]) -> Manifest:
    return Manifest(_json({"schemaVersion": 2, "mediaType": INDEX, **document}), INDEX)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
