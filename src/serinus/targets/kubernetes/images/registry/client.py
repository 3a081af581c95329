"""The OCI distribution protocol, as far as images are pushed and read: blobs, manifests and referrers.

Its specification is https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from serinus.core.errors import Unavailable
from serinus.lib import files
from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.images.registry import words
from serinus.targets.kubernetes.images.registry.connection import Connection
from serinus.targets.kubernetes.images.registry.credentials import Credentials

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MANIFESTS = ", ".join(
    (
        INDEX,
        MANIFEST,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_BYTES = {"Content-Type": "application/octet-stream"}
_PIECE = 1 << 20
_CHUNK = 64 << 20
"""Bytes of one request of an upload: proxies limit what a request may have."""
_LARGEST_DOCUMENT = 8 << 20
_UPLOADS = 3
"""Tries of a whole upload."""


@dataclass(frozen=True, slots=True)
class Manifest:
    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    def document(self) -> dict[str, Any]:
        """Raises ValueError: it is no JSON object."""
        document = json.loads(self.content)
        if not isinstance(document, dict):
            raise ValueError("a manifest is a JSON object")
        return document


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry:
    """`registry` as references have it. Every method raises Unavailable, in words, where the registry does not answer,
    refuses, or is full."""

    def __init__(
        self,
        registry: str,
        credentials: Credentials,
        *,
        plain: Collection[str] = (),
        pause: Callable[[float], None] = time.sleep,
        chunk: int = _CHUNK,
    ) -> None:
        """`plain`: registries that are asked without TLS, beside those on this machine. `chunk`: bytes of one request
        of an upload."""
        self._connection = Connection(registry, credentials, plain=plain, pause=pause)
        self._pause = pause
        self._chunk = chunk
        self.name = registry
        self.sent_bytes = 0
        """Of blobs and manifests, since this object was made."""

    def close(self) -> None:
        self._connection.close()

    def has_blob(self, repository: str, digest: str) -> bool:
        url = self._url(repository, "blobs", digest)
        return self._connection.request("HEAD", url, repository, accepted=(404,)).is_success

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Makes a blob of the repository `source` one of `repository` as well. False: it is not there, or the registry
        does not do that."""
        url = httpx.URL(self._url(repository, "blobs", "uploads/"), params={"mount": digest, "from": source})
        answer = self._connection.request("POST", url, repository, also=source, accepted=(401, 403, 404, 405))
        if answer.status_code == 202:  # an upload has been begun instead
            self._cancel(answer, repository)
        return answer.status_code == 201

    def push_file(self, repository: str, digest: str, file: Path) -> None:
        """Uploads a blob that the registry does not have, in chunks, straight from the file."""
        size = file.stat().st_size
        backoff = Backoff(0.5, 8.0)
        with file.open("rb") as content:
            for tries in range(_UPLOADS, 0, -1):
                url = self._begun(repository)
                try:
                    self._upload(repository, url, digest, content, size)
                    return
                except (words.Away, words.NotThere):  # the second: the registry has forgotten what was begun
                    if tries == 1:
                        raise
                self._pause(backoff.pause())
                if self.has_blob(repository, digest):  # the last answer alone was lost
                    return

    def push_bytes(self, repository: str, content: bytes) -> str:
        """Uploads a small blob unless it is there; its digest."""
        digest = digest_of(content)
        if not self.has_blob(repository, digest):
            url = self._begun(repository)
            self._put(repository, url, digest, lambda: content, len(content))
        return digest

    def content(self, repository: str, digest: str) -> bytes:
        """Of a small blob, such as the configuration of an image."""
        url = self._url(repository, "blobs", digest)
        with self._connection.stream("GET", url, repository) as answer:
            content = self._limited(answer)
        if digest_of(content) != digest:
            raise words.changed(self.name, "A blob")
        return content

    def download(self, repository: str, digest: str, target: Path) -> None:
        """Writes a blob to the file `target`, which is there whole or not at all."""
        url, found = self._url(repository, "blobs", digest), hashlib.sha256()
        with files.replacing(target) as file:
            with self._connection.stream("GET", url, repository) as answer:
                for piece in self._pieces(answer):
                    found.update(piece)
                    file.write(piece)
            if f"sha256:{found.hexdigest()}" != digest:
                raise words.changed(self.name, "A layer")

    def manifest(self, repository: str, selector: str) -> Manifest | None:
        """By tag or digest. None: there is none."""
        url = self._url(repository, "manifests", selector)
        with self._connection.stream("GET", url, repository, headers={"Accept": _MANIFESTS}, accepted=(404,)) as answer:
            if answer.status_code == 404:
                return None
            found = Manifest(self._limited(answer), answer.headers.get("content-type", "").partition(";")[0])
        if selector.startswith("sha256:") and found.digest != selector:
            raise words.changed(self.name, "A manifest")
        return found

    def put_manifest(self, repository: str, selector: str, manifest: Manifest) -> bool:
        """Under a tag or its digest. Whether the registry has entered it as a referrer of its `subject`."""
        url = self._url(repository, "manifests", selector)
        answer = self._connection.request(
            "PUT", url, repository, headers={"Content-Type": manifest.media_type}, body=lambda: manifest.content
        )
        self.sent_bytes += len(manifest.content)
        return "oci-subject" in answer.headers

    def referrers(self, repository: str, digest: str) -> Manifest | None:
        """The index of what refers to `digest`. None: the registry does not keep one by itself."""
        url = self._url(repository, "referrers", digest)
        answer = self._connection.request("GET", url, repository, headers={"Accept": INDEX}, accepted=(404, 405))
        return Manifest(answer.content, INDEX) if answer.is_success else None

    def _upload(self, repository: str, url: httpx.URL, digest: str, content: BinaryIO, size: int) -> None:
        """What fails is not sent again by itself: registries forget how much of an upload they had."""
        start = 0
        while size - start > self._chunk:
            end = start + self._chunk
            headers = {**_BYTES, "Content-Length": str(end - start), "Content-Range": f"{start}-{end - 1}"}
            part = functools.partial(_part, content, start, end)
            answer = self._connection.request("PATCH", url, repository, headers=headers, body=part, again=False)
            self.sent_bytes += end - start
            url, start = self._location(answer, repository), end
        self._put(repository, url, digest, lambda: _part(content, start, size), size - start)

    def _put(self, repository: str, url: httpx.URL, digest: str, body: Callable[[], Any], size: int) -> None:
        headers = {**_BYTES, "Content-Length": str(size)}
        url = url.copy_set_param("digest", digest)
        self._connection.request("PUT", url, repository, headers=headers, body=body, again=False)
        self.sent_bytes += size

    def _begun(self, repository: str) -> httpx.URL:
        url = self._url(repository, "blobs", "uploads/")
        answer = self._connection.request("POST", url, repository, headers={"Content-Length": "0"})
        return self._location(answer, repository)

    def _location(self, answer: httpx.Response, repository: str) -> httpx.URL:
        """Where the upload goes on, which may be relative."""
        told = answer.headers.get("location")
        if told is None:
            raise words.refused(self.name, repository, answer)
        return httpx.URL(self._connection.url).join(told)

    def _cancel(self, begun: httpx.Response, repository: str) -> None:
        with contextlib.suppress(Unavailable):  # the registry forgets it by itself
            self._connection.request("DELETE", self._location(begun, repository), repository, again=False)

    def _limited(self, answer: httpx.Response) -> bytes:
        content = b""
        for piece in self._pieces(answer):
            content += piece
            if len(content) > _LARGEST_DOCUMENT:
                raise words.changed(self.name, "A document")
        return content

    def _pieces(self, answer: httpx.Response) -> Iterator[bytes]:
        try:
            yield from answer.iter_raw(_PIECE)
        except httpx.HTTPError as error:
            raise words.away(self.name, error) from error

    def _url(self, repository: str, kind: str, name: str) -> str:
        return f"{self._connection.url}/{repository}/{kind}/{name}"


class Registries:
    """One client a registry. `plain`: as of `Registry`."""

    def __init__(self, credentials: Credentials, *, plain: Collection[str] = ()) -> None:
        self._credentials = credentials
        self._plain = tuple(plain)
        self._known: dict[str, Registry] = {}

    def of(self, registry: str) -> Registry:
        if registry not in self._known:
            self._known[registry] = Registry(registry, self._credentials, plain=self._plain)
        return self._known[registry]

    def close(self) -> None:
        while self._known:
            self._known.popitem()[1].close()


def _part(content: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    content.seek(start)
    while start < end and (piece := content.read(min(_PIECE, end - start))):
        start += len(piece)
        yield piece
