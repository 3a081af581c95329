"""Images of one static program each, pushed to a registry without an image builder. What is pushed is reproducible."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

import httpx

from clusterlab import LabError

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_NOBODY = "65532:65532"


def push(registry: str, name: str, program: Path) -> str:
    """Pushes an image that runs the program, as `registry/name:1`, which is returned. `registry`: host and port, HTTP.

    Raises LabError.
    """
    layer = _layer(program)
    compressed = gzip.compress(layer, 1, mtime=0)
    config = {
        "architecture": _MACHINES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": _NOBODY},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    told = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, told),
        "layers": [_descriptor(_LAYER, compressed)],
    }
    try:
        with httpx.Client(base_url=f"http://{registry}/v2/{name}/", timeout=60, trust_env=False) as client:
            for blob in (compressed, told):
                _blob(client, blob)
            content, headers = json.dumps(manifest).encode(), {"Content-Type": _MANIFEST}
            client.put("manifests/1", content=content, headers=headers).raise_for_status()
    except httpx.HTTPError as error:
        raise LabError(
            f"The image {name} cannot be pushed to the registry {registry}: {error}. See that it runs and takes pushes."
        ) from error
    return f"{registry}/{name}:1"


def _blob(client: httpx.Client, content: bytes) -> None:
    """Sent once: what the registry has is not sent again."""
    digest = _digest(content)
    if client.head(f"blobs/{digest}").status_code == 200:
        return
    begun = client.post("blobs/uploads/")
    begun.raise_for_status()
    location = begun.request.url.join(begun.headers["Location"]).copy_merge_params({"digest": digest})
    client.put(location, content=content, headers={"Content-Type": "application/octet-stream"}).raise_for_status()


def _layer(program: Path) -> bytes:
    content = program.read_bytes()
    entry = tarfile.TarInfo(program.name)
    entry.size, entry.mode = len(content), 0o755
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
