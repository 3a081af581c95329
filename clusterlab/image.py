"""Images of one static program each, made and pushed as those of releases are."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Collection
from pathlib import Path

from clusterlab import LabError
from serinus.core.errors import Unavailable
from serinus.targets.kubernetes.images import documents, layers
from serinus.targets.kubernetes.images.registry import DockerConfig, Registry
from serinus.targets.kubernetes.images.trees import Entry

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_NOBODY = "65532:65532"
TAG = "1"


def push(registry: str, name: str, program: Path, *, plain: Collection[str] = ()) -> str:
    """Pushes an image that runs the program. Its reference, by digest; it has the tag `TAG` as well.

    `registry`: host and port. `plain`: registries that are asked without TLS, beside those on loopback addresses.
    Raises LabError.
    """
    content = io.BytesIO()
    layer = layers.write([Entry(program.name, source=program, executable=True)], content)
    config = {
        "architecture": _MACHINES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": _NOBODY},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    }
    configuration = json.dumps(config).encode()
    manifest = documents.manifest(configuration, [layer.descriptor], {})
    client = Registry(registry, DockerConfig(), plain=plain)
    try:
        for blob in (content.getvalue(), configuration):
            client.push_bytes(name, blob)
        client.put_manifest(name, TAG, manifest)
    except Unavailable as error:
        raise LabError(f"The image {name} cannot be pushed: {error}") from error
    finally:
        client.close()
    return f"{registry}/{name}@{manifest.digest}"
