"""A base image of our own making, from Debian's packages: what an interpreter and the libraries of models load, and no
shell. For where no other base can be had; nothing of the packages is run."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from serinus.core.errors import Unavailable
from serinus.lib import tied
from serinus.targets.kubernetes.images import contents, documents, layers, trees
from serinus.targets.kubernetes.images.layers import Layers
from serinus.targets.kubernetes.images.references import Reference
from serinus.targets.kubernetes.images.registry import Registry
from serinus.targets.kubernetes.images.trees import Entry

PACKAGES = (
    "libc6", "libgcc-s1", "libstdc++6", "libgomp1", "zlib1g", "libssl3", "libffi8", "libbz2-1.0", "liblzma5",
    "libsqlite3-0", "libexpat1", "libuuid1", "libcrypt1", "libtinfo6", "libncursesw6", "libreadline8", "libdb5.3",
    "libgdbm6", "ca-certificates", "tzdata",
)  # fmt: skip
GIT = (
    "git", "libcurl3-gnutls", "libpcre2-8-0", "libbrotli1", "libcom-err2", "libgmp10", "libgnutls30",
    "libgssapi-krb5-2", "libhogweed6", "libidn2-0", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0",
    "libldap-2.5-0", "libnettle8", "libnghttp2-14", "libp11-kit0", "libpsl5", "librtmp1", "libsasl2-2", "libssh2-1",
    "libtasn1-6", "libunistring2", "libzstd1",
)  # fmt: skip
"""What the control plane needs beside that: git, for servers that speak HTTPS. What Serinus asks of it needs no
Perl."""
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Links into /usr, as in every Debian since 12."""
_LEFT_OUT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/sbin",
    "usr/bin",
    "etc/init.d",
)
_GIT_PROGRAM = "usr/lib/git-core/git"
_CERTIFICATES = "usr/share/ca-certificates"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SECONDS = 300.0


def push(registry: Registry, repository: str, root: Path | None = None, *, git: bool = False) -> Reference:
    """Makes a base image and pushes it to `repository` of `registry`; its reference. `root`: the directory with its
    files; None: from Debian's packages, which `apt-get` downloads, with `git` where that is wanted. Raises Unbuildable,
    Unavailable."""
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    with tempfile.TemporaryDirectory(prefix="serinus-base-") as scratch:
        kept, key = Layers(Path(scratch, "layers")), layers.key("base")
        found = root or unpack(Path(scratch), (*PACKAGES, *GIT) if git else PACKAGES)
        layer = kept.layer(key, lambda file: layers.write(entries(found), file))
        if not registry.has_blob(repository, layer.digest):
            registry.push_file(repository, layer.digest, kept.file(key))
    configuration = documents.base_config(architecture, layer)
    registry.push_bytes(repository, configuration)
    manifest = documents.manifest(configuration, [layer.descriptor], {})
    registry.put_manifest(repository, manifest.digest, manifest)
    index = documents.index([(manifest, {"os": "linux", "architecture": architecture})], {})
    registry.put_manifest(repository, index.digest, index)
    return Reference(registry.name, repository, digest=index.digest)


def unpack(directory: Path, packages: Sequence[str] = PACKAGES) -> Path:
    """Downloads the packages with `apt-get`, for this machine's architecture and as it is set up, and unpacks them
    below the empty `directory`; the root of the image. Raises Unavailable: apt-get or dpkg-deb fails."""
    downloads, root = directory / "packages", directory / "root"
    downloads.mkdir()
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    _run(["apt-get", "download", "--quiet=2", *packages], downloads)
    for package in sorted(downloads.glob("*.deb")):
        archive = directory / "archive.tar"
        with archive.open("wb") as file:
            _run(["dpkg-deb", "--fsys-tarfile", package.name], downloads, file.fileno())
        # Packages have files in /lib, which is a link.
        _run(["tar", "--extract", "--no-same-owner", "--keep-directory-symlink", "-f", str(archive)], root)
    return root


def entries(root: Path) -> Iterator[Entry]:
    """What is below `root`, with an ordinary user, who models run as, and a bundle of the certificates. Raises
    Unbuildable, OSError."""
    place = "base"
    for entry in trees.walk(root, place, links=trees.kept, wanted=lambda name: not name.startswith(_LEFT_OUT)):
        if entry.name != place:
            yield Entry(
                entry.name.removeprefix(f"{place}/"), entry.source, entry.content, entry.target, entry.executable
            )
    user = contents.USER
    yield Entry("etc/passwd", content=f"root:x:0:0::/:\nmodel:x:{user}:{user}::/{contents.SCRATCH}:\n".encode())
    yield Entry("etc/group", content=f"root:x:0:\nmodel:x:{user}:\n".encode())
    yield Entry("etc/nsswitch.conf", content=b"passwd: files\ngroup: files\nhosts: files dns\n")
    yield trees.directory("tmp", mode=0o1777)
    if (root / _GIT_PROGRAM).is_file():
        yield Entry("usr/bin/git", target=f"/{_GIT_PROGRAM}")
    bundle = sorted((root / _CERTIFICATES).rglob("*.crt"), key=os.fsencode)
    if bundle:
        yield Entry("etc/ssl/certs/ca-certificates.crt", content=b"".join(map(Path.read_bytes, bundle)))
        yield Entry("usr/lib/ssl/cert.pem", target="/etc/ssl/certs/ca-certificates.crt")  # where OpenSSL looks


def _run(command: list[str], directory: Path, output: int = subprocess.DEVNULL) -> None:
    try:
        with tied.start(command, cwd=directory, stdout=output, stderr=subprocess.PIPE) as process:
            _, complained = process.communicate(timeout=_SECONDS)
            code = process.wait()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}, which makes a base image from Debian's packages, cannot be run.") from error
    if code:
        said = " ".join(complained.decode(errors="replace").split())[-300:]
        raise Unavailable(
            f"{command[0]}, which makes a base image from Debian's packages, failed: {said}",
            hint="Run `apt-get update`, and try again.",
        )
