"""Installs the control plane in a cluster, as the Helm chart does."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from serinus.backends.uv import UvPackages
from serinus.core.errors import InvalidInput
from serinus.spec.document import dotted
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.control.image import IMAGE, PROGRAMS
from serinus.targets.kubernetes.control.manifests import Manifest, manifests
from serinus.targets.kubernetes.control.values import Draft, Values, settings_of
from serinus.targets.kubernetes.images import Place, Reference, programs
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries, Registry
from serinus.targets.kubernetes.manifests.rendering import rendered
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.kubernetes.settings_file import load_as
from serinus.wiring.installing import check_rights

_TITLE = "The values of the control plane"
_HINT = "`deploy/chart/serinus/values.yaml` describes all of them."


def objects(file: Path, namespace: str) -> Sequence[Manifest]:
    """Returns what is installed into `namespace`, by the values in `file`. Raises InvalidInput, which names all
    mistakes in them."""
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", namespace) is None:
        raise InvalidInput("--namespace is not the name of a namespace, in small letters, digits and '-'.")
    values = load_as(Values, file, _TITLE, _HINT)
    settings = settings_of(values.config, namespace, values.replicas, git=False)
    try:  # What contradicts each other, which otherwise the pods would find.
        ClusterSettings.model_validate(settings, strict=False)
    except ValidationError as error:
        lines = [f"{file}: config.cluster.{dotted(one['loc'])}: {one['msg']}" for one in error.errors()]
        raise InvalidInput("\n".join(lines)) from error
    return manifests(values, namespace)


def text(found: Sequence[Manifest]) -> str:
    """Returns the objects as YAML."""
    return rendered(found)


def apply_by(file: Path, namespace: str, kubeconfig: Path, context: str | None, say: Callable[[str], None]) -> None:
    """Applies what `objects` returns to the cluster of a kubeconfig. Errors as of both."""
    found = objects(file, namespace)
    cluster = Cluster.connected(kubeconfig, context=context)
    try:
        apply(found, cluster, say)
    finally:
        cluster.close()


def apply(found: Sequence[Manifest], cluster: Cluster, say: Callable[[str], None]) -> None:
    """Makes the cluster have the objects. The namespaces are there already. Nothing is changed where a right is
    missing. Raises Refused and Unavailable, each in words."""
    check_rights(cluster, found, "the control plane", "Have an administrator of the cluster do it.")
    for manifest in found:
        cluster.apply(manifest, force=True)
        metadata = manifest["metadata"]
        say(
            f"{manifest['kind']} {metadata['name']}"
            + (f" in {metadata['namespace']}" if "namespace" in metadata else "")
        )


def push_image(
    file: Path, base: str | None, python: Path | None, say: Callable[[str], None], plain: Sequence[str] = ()
) -> Reference:
    """Returns the image of the control plane, which is built where the registry does not have it, for the first of the
    platforms. `base`: None: that of releases, which then must have git. `python`: prefix of a relocatable installation;
    None: the one that runs Serinus. Raises Unbuildable, InvalidInput and Unavailable, each in words."""
    images: Any = load_as(Draft, file, _TITLE, _HINT).config.cluster.images
    place = Place(Reference.parse(images.repository), Reference.parse(base or images.base).pinned, images.platforms)
    registries = Registries(DockerConfig(), plain=(*images.plain, *plain))
    return push_control_image(registries.of, place, python or Path(sys.base_prefix), say)


def push_control_image(
    registry: Callable[[str], Registry], place: Place, prefix: Path, say: Callable[[str], None]
) -> Reference:
    """The image with the installation of Python at `prefix`, for the first platform of `place`. Errors as of
    `programs.push`."""
    with tempfile.TemporaryDirectory(prefix="serinus-image-") as scratch:
        packages = UvPackages(Path(scratch, "environments"))
        install = partial(packages.install_lock, programs=PROGRAMS)
        return programs.push(IMAGE, registry, place, prefix, install, Path(scratch, "layers"), place.platforms[0], say)
