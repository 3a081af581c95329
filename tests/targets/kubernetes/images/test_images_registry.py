"""The client of registries, against a real one: what is sent and what is not, and what is tried again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import registries
from registries import Proxy

from serinus.core.errors import Unavailable
from serinus.lib.plain_http import NO_TLS
from serinus.targets.kubernetes.images import documents
from serinus.targets.kubernetes.images.registry import MANIFEST, DockerConfig, Manifest, Registry, digest_of

REPOSITORY = "tests/models/card-fraud"


def blob(path: Path, size: int) -> tuple[Path, str]:
    """One that no other test has."""
    content = os.urandom(size)
    path.write_bytes(content)
    return path, digest_of(content)


def held(registry_server: str, digest: str) -> bytes:
    """What the registry itself has under `digest`, past the proxy."""
    import httpx

    url = f"http://{registry_server}/v2/{REPOSITORY}/blobs/{digest}"
    return httpx.get(url, verify=NO_TLS).raise_for_status().content


def test_a_blob_is_uploaded_in_chunks_from_its_file(
    client: Registry, proxy: Proxy, registry_server: str, tmp_path: Path
) -> None:
    file, digest = blob(tmp_path / "blob", (3 << 20) + 5)
    assert not client.has_blob(REPOSITORY, digest)
    client.push_file(REPOSITORY, digest, file)
    assert client.has_blob(REPOSITORY, digest)
    assert held(registry_server, digest) == file.read_bytes()
    assert (proxy.count("PATCH"), proxy.count("PUT")) == (3, 1)
    assert client.sent_bytes == proxy.sent == (3 << 20) + 5


def test_a_small_blob_takes_one_request_and_is_sent_once(client: Registry, proxy: Proxy) -> None:
    content = os.urandom(100)
    assert client.push_bytes(REPOSITORY, content) == client.push_bytes(REPOSITORY, content) == digest_of(content)
    assert (proxy.count("PATCH"), proxy.count("PUT")) == (0, 1)
    assert client.content(REPOSITORY, digest_of(content)) == content


def test_an_upload_that_breaks_off_begins_anew(
    client: Registry, proxy: Proxy, registry_server: str, tmp_path: Path
) -> None:
    file, digest = blob(tmp_path / "blob", 4 << 20)
    proxy.cut_after = 700_001
    client.push_file(REPOSITORY, digest, file)
    assert held(registry_server, digest) == file.read_bytes()
    assert proxy.count("POST") == 2


def test_an_upload_that_the_registry_has_lost_begins_anew(
    client: Registry, proxy: Proxy, registry_server: str, tmp_path: Path, pauses: list[float]
) -> None:
    file, digest = blob(tmp_path / "blob", 4 << 20)
    lost = iter([True])
    proxy.answer = lambda method, path: (404, {}, b"") if method == "PATCH" and next(lost, False) else None
    client.push_file(REPOSITORY, digest, file)
    assert proxy.count("POST") == 2
    assert held(registry_server, digest) == file.read_bytes()


def test_an_upload_whose_last_answer_was_lost_is_not_repeated(
    client: Registry, proxy: Proxy, registry_server: str, tmp_path: Path
) -> None:
    file, digest = blob(tmp_path / "blob", 1000)
    lost = iter([True])
    proxy.headers = lambda method, path, body: {}

    def answer(method: str, path: str) -> tuple[int, dict[str, str], bytes] | None:
        if method == "PUT" and next(lost, False):
            import httpx

            httpx.put(f"http://{registry_server}{path}", content=file.read_bytes()).raise_for_status()
            return 502, {}, b"the answer was lost"
        return None

    proxy.answer = answer
    client.push_file(REPOSITORY, digest, file)
    assert proxy.count("PUT") == 1


def test_a_blob_of_another_repository_is_mounted(client: Registry, proxy: Proxy, tmp_path: Path) -> None:
    file, digest = blob(tmp_path / "blob", 1000)
    assert not client.mount(REPOSITORY, digest, "tests/layers")
    assert proxy.count("DELETE") == 1  # the upload that was begun instead
    client.push_file("tests/layers", digest, file)
    sent = client.sent_bytes
    assert client.mount(REPOSITORY, digest, "tests/layers")
    assert client.has_blob(REPOSITORY, digest)
    assert client.sent_bytes == sent


def test_a_manifest_is_found_by_tag_and_by_digest(client: Registry) -> None:
    client.push_bytes(REPOSITORY, documents.EMPTY_CONTENT)
    content = documents.descriptor("text/plain", b"hello")
    client.push_bytes(REPOSITORY, b"hello")
    manifest = documents.artifact("application/vnd.serinus.test", content)
    assert not client.put_manifest(REPOSITORY, "some-tag", manifest)
    assert client.manifest(REPOSITORY, "some-tag") == client.manifest(REPOSITORY, manifest.digest) == manifest
    assert client.manifest(REPOSITORY, "another-tag") is None
    assert client.manifest(REPOSITORY, "sha256:" + "0" * 64) is None
    assert client.referrers(REPOSITORY, manifest.digest) is None  # this registry keeps none


def test_a_download_is_whole_or_not_there(client: Registry, proxy: Proxy, tmp_path: Path) -> None:
    file, digest = blob(tmp_path / "blob", 3 << 20)
    client.push_file(REPOSITORY, digest, file)
    client.download(REPOSITORY, digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()
    proxy.answer = lambda method, path: (200, {}, b"something else") if method == "GET" else None
    with pytest.raises(Unavailable, match=r"A layer from the registry 127.0.0.1:.* is not what its digest says"):
        client.download(REPOSITORY, digest, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(Unavailable, match="A blob from"):
        client.content(REPOSITORY, digest)
    with pytest.raises(Unavailable, match="A manifest from"):
        client.manifest(REPOSITORY, digest)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_fails_for_a_moment_is_tried_again(
    client: Registry, proxy: Proxy, pauses: list[float], status: int
) -> None:
    failing = iter([True, True])
    proxy.answer = lambda method, path: (status, {"Retry-After": "3"}, b"") if next(failing, False) else None
    assert not client.has_blob(REPOSITORY, "sha256:" + "1" * 64)
    assert pauses == [3.0, 3.0]


def test_a_registry_that_is_away_is_said(nobody: object, pauses: list[float]) -> None:
    from waiting import free_port

    away = Registry(f"127.0.0.1:{free_port()}", nobody, pause=pauses.append)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match=r"The registry 127.0.0.1:\d+ does not answer \(ConnectError\)") as caught:
        away.has_blob(REPOSITORY, "sha256:" + "1" * 64)
    assert "Check that it runs" in caught.value.hint
    assert len(pauses) == 3


@pytest.mark.parametrize(
    ("status", "body", "words", "hint"),
    [
        (401, b"", "does not accept the credentials for", "docker login"),
        (403, b'{"errors": [{"code": "DENIED"}]}', "denies access to", "the right to pull from this repository"),
        (403, b'{"errors": [{"code": "DENIED", "message": "quota exceeded"}]}', "is full or over its quota", "quota"),
        (507, b"", "is full or over its quota", "garbage collection"),
        (500, b'{"errors": [{"code": "UNKNOWN", "detail": {"Enclosed": {"Err": 28}}}]}', "is full", "quota"),
        (404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}', "has no such repository or image", "created before"),
        (413, b"", "refuses a layer as too large", "largest body"),
        (418, b'{"errors": [{"code": "TEAPOT"}]}', "with HTTP 418, TEAPOT", "log of the registry"),
    ],
)
def test_a_refusal_is_said_in_words(
    client: Registry, proxy: Proxy, tmp_path: Path, status: int, body: bytes, words: str, hint: str
) -> None:
    file, digest = blob(tmp_path / "blob", 10)
    proxy.answer = lambda method, path: (status, {}, body) if method == "POST" else None
    with pytest.raises(Unavailable, match=words) as caught:
        client.push_file(REPOSITORY, digest, file)
    assert proxy.host in caught.value.message
    assert hint in caught.value.hint
    assert proxy.count("POST") == 1  # it would not help


def test_a_registry_whose_disk_is_full_is_said(nobody: DockerConfig, tmp_path: Path) -> None:
    """A file system of 3 MB, which an ordinary user may mount in namespaces of its own."""
    (tmp_path / "blobs").mkdir()
    mount = f'mount -t tmpfs -o size=3m none "{tmp_path}/blobs" && exec "$0" "$@"'
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "sh", "-c", mount, "true"]).returncode:
        pytest.skip("this machine lets nobody mount a file system of its own")
    file, digest = blob(tmp_path / "blob", 5 << 20)
    with registries.serving(tmp_path, before=[*apart, "sh", "-c", mount]) as host:
        client = Registry(host, nobody, chunk=1 << 20)
        with pytest.raises(Unavailable, match=rf"The registry {host} is full or over its quota \(HTTP 500\)"):
            client.push_file(REPOSITORY, digest, file)
        client.close()


def test_a_subject_that_the_registry_enters_itself_is_reported(client: Registry, proxy: Proxy) -> None:
    client.push_bytes(REPOSITORY, documents.EMPTY_CONTENT)
    client.push_bytes(REPOSITORY, b"bill")
    image = Manifest(b"{}", MANIFEST)
    referrer = documents.artifact("text/plain", documents.descriptor("text/plain", b"bill"), image)
    proxy.headers = lambda method, path, body: {"OCI-Subject": image.digest} if b'"subject"' in body else {}
    assert client.put_manifest(REPOSITORY, referrer.digest, referrer)


def test_digests_are_sha256() -> None:
    assert digest_of(b"abc") == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
