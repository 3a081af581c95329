"""The base image: read from its registry, once for each platform."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serinus.core.errors import InvalidInput
from serinus.targets.kubernetes.images.layers import GZIP
from serinus.targets.kubernetes.images.references import Reference, is_digest
from serinus.targets.kubernetes.images.registry import NotThere, Registry

# The archives are the same; images that Docker has pushed only call them otherwise.
_LAYERS = {
    GZIP: GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": GZIP,
    "application/vnd.oci.image.layer.v1.tar+zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.v1.tar": "application/vnd.oci.image.layer.v1.tar",
}
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


@dataclass(frozen=True, slots=True)
class Base:
    """One platform's image."""

    layers: tuple[Mapping[str, Any], ...]
    """Descriptors, the lowest first."""
    diff_ids: tuple[str, ...]
    platform: Mapping[str, str]
    """`os`, `architecture`, and `variant` where there is one."""
    environment: tuple[str, ...]
    """`NAME=value`"""
    labels: Mapping[str, str]


def read(registry: Registry, reference: Reference, platform: str) -> Base:
    """The image at `reference`, which is pinned, for `platform` (`linux/amd64`). Raises InvalidInput: it is none, or
    none for the platform; Unavailable."""
    try:
        document = _document(registry, reference, reference.digest)
        if document.get("mediaType") in _INDEXES or "manifests" in document:
            document = _document(registry, reference, _of_platform(document, platform, reference))
        config = json.loads(registry.content(reference.repository, document["config"]["digest"]))
        found = _base(document, config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{reference} is not an image that can be built on: {error}.") from error
    if f"{found.platform['os']}/{found.platform['architecture']}" != platform:
        raise _other_platform(reference, platform)
    return found


def _document(registry: Registry, reference: Reference, digest: str) -> dict[str, Any]:
    found = registry.manifest(reference.repository, digest)
    if found is None:
        raise NotThere(f"The base image {reference} is not in its registry.", hint="Check the reference.", delay=60)
    return found.document()


def _of_platform(index: Mapping[str, Any], platform: str, reference: Reference) -> str:
    """The digest of its manifest. Attestations, which are in indexes as well, are for no platform that there is."""
    for one in index["manifests"]:
        its = one.get("platform") or {}
        if f"{its.get('os')}/{its.get('architecture')}" == platform and is_digest(one["digest"]):
            return str(one["digest"])
    raise _other_platform(reference, platform)


def _base(document: Mapping[str, Any], config: Mapping[str, Any]) -> Base:
    layers = []
    for one in document["layers"]:
        if one["mediaType"] not in _LAYERS or not is_digest(one["digest"]):
            raise ValueError("it has a layer of an unknown kind")
        layers.append({"mediaType": _LAYERS[one["mediaType"]], "digest": one["digest"], "size": int(one["size"])})
    diff_ids = tuple(config["rootfs"]["diff_ids"])
    if len(diff_ids) != len(layers) or not all(map(is_digest, diff_ids)):
        raise ValueError("its configuration does not have its layers")
    about = config.get("config") or {}
    return Base(
        tuple(layers),
        diff_ids,
        {name: str(config[name]) for name in ("os", "architecture", "variant") if name in config},
        tuple(map(str, about.get("Env") or ())),
        {str(name): str(value) for name, value in (about.get("Labels") or {}).items()},
    )


def _other_platform(reference: Reference, platform: str) -> InvalidInput:
    return InvalidInput(
        f"The base image {reference} is not for {platform}.",
        hint="Choose one that is for all platforms of the cluster.",
    )
