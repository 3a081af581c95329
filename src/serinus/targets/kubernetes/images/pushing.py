"""Brings layers and what refers to images into repositories, and sends nothing twice.

Layers that many images have are kept in a repository of their own beside those of the models, each under a tag that
says what it is of, and are mounted from there: also by a builder that has never made one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serinus.targets.kubernetes.images import documents
from serinus.targets.kubernetes.images.documents import Descriptor
from serinus.targets.kubernetes.images.layers import Layer, Layers
from serinus.targets.kubernetes.images.references import Reference, is_digest
from serinus.targets.kubernetes.images.registry import Manifest, Registry

Make = Callable[[BinaryIO], Layer]
"""Writes a layer into a file."""
LAYER = "application/vnd.serinus.layer.v1"
_DIFF_ID = "serinus.diff-id"


@dataclass(slots=True)
class Pusher:
    """Into repositories of `registry`, with `shared` for the layers of many images."""

    registry: Registry
    layers: Layers
    shared: str
    _mounts: bool = True
    """Whether the registry mounts; where it does not, everything is sent to each repository itself."""

    def own(self, repository: str, key: str, make: Make, source: str) -> Layer:
        """Has the layer of `key`, which images of one model have, in `repository`. The repository `source` may have
        it."""
        known = self.layers.known(key)
        if known is None or not self._present(repository, known.digest, source):
            known = self.layers.layer(key, make)
            self._send(repository, known.digest, self.layers.file(key))
        return known

    def common(self, repository: str, key: str, make: Make) -> Layer:
        """The same for a layer that many images have."""
        known = self._kept(key)
        if known is not None and self._present(repository, known.digest):
            return known
        known = self.layers.layer(key, make)
        if self._mounts and self._kept(key) != known:
            self._send(self.shared, known.digest, self.layers.file(key))
            self._keep(key, known)
        if not self._present(repository, known.digest):
            self._send(repository, known.digest, self.layers.file(key))
        return known

    def of_base(self, repository: str, layer: Descriptor, source: Registry, reference: Reference) -> None:
        """Has a layer of the base image, which `source` has at `reference`, in `repository`."""
        digest = str(layer["digest"])
        here = source.name == self.registry.name
        if self._present(repository, digest, reference.repository if here else self.shared):
            return
        with self.layers.scratch() as scratch:
            source.download(reference.repository, digest, file := scratch / "layer")
            if self._mounts and not here:
                self._send(self.shared, digest, file)
            if here or not self._present(repository, digest):
                self._send(repository, digest, file)

    def refer(self, repository: str, subject: Manifest, kind: str, content: bytes) -> None:
        """Attaches `content`, of the media type `kind`, to `subject`."""
        self.registry.push_bytes(repository, documents.EMPTY_CONTENT)
        self.registry.push_bytes(repository, content)
        referrer = documents.artifact(kind, documents.descriptor(kind, content), subject)
        if self.registry.put_manifest(repository, referrer.digest, referrer):
            return
        # The registry keeps no list of referrers: it is an index under a tag, as the specification has it.
        tag = subject.digest.replace(":", "-")
        before = self.registry.manifest(repository, tag)
        self.registry.put_manifest(repository, tag, documents.with_referrer(before, referrer))

    def _present(self, repository: str, digest: str, source: str = "") -> bool:
        """Whether the blob is in `repository`, mounted there where it was not."""
        if self.registry.has_blob(repository, digest):
            return True
        return self._mounts and self.registry.mount(repository, digest, source or self.shared)

    def _send(self, repository: str, digest: str, file: Path) -> None:
        if not self.registry.has_blob(repository, digest):
            self.registry.push_file(repository, digest, file)

    def _kept(self, key: str) -> Layer | None:
        """What the shared repository has under `key`."""
        found = self.registry.manifest(self.shared, key)
        if found is None:
            return None
        try:
            (layer,) = found.document()["layers"]
            kept = Layer(layer["digest"], layer["annotations"][_DIFF_ID], int(layer["size"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # replaced below
        return kept if is_digest(kept.digest) and is_digest(kept.diff_id) else None

    def _keep(self, key: str, layer: Layer) -> None:
        self.registry.push_bytes(self.shared, documents.EMPTY_CONTENT)
        content = {**layer.descriptor, "annotations": {_DIFF_ID: layer.diff_id}}
        self.registry.put_manifest(self.shared, key, documents.artifact(LAYER, content))
