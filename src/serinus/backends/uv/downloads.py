"""Downloads a file of a package index as data. uv would download source archives only to build them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import httpx

from serinus.backends.uv.options import of_the_environment
from serinus.core.errors import Unavailable, Unbuildable

_LARGEST = 1 << 30
_CHUNK = 1 << 20
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)


def download(url: str, sha256: str, directory: Path, options: Sequence[str]) -> Path:
    """Downloads the file at `url` to `directory` and checks its hash.

    Credentials are those of an index on the same host, from `options` or uv's variables. Raises Unbuildable (it is
    another file, or too large), Unavailable and OSError.
    """
    parts = urlsplit(url)
    name = unquote(parts.path).rpartition("/")[2]
    if not re.fullmatch(r"[\w.+!-]+\.(tar\.gz|tgz|tar\.bz2|tar\.xz|zip)", name):
        raise Unbuildable("the package index names a source archive of an unknown kind")
    target = directory / name
    digest = hashlib.sha256()
    size = 0
    with target.open("xb") as file:
        for piece in _pieces(url, options):
            size += len(piece)
            if size > _LARGEST:
                raise Unbuildable(f"{name} in the package index is larger than {_LARGEST >> 30} GiB")
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != sha256:
        raise Unbuildable(
            f"{name} in the package index is not the file that was locked",
            hint="The file was replaced. Find out by whom before you deploy.",
        )
    return target


def _pieces(url: str, options: Sequence[str]) -> Iterator[bytes]:
    parts = urlsplit(url)
    if parts.scheme == "file":
        with Path(url2pathname(parts.path)).open("rb") as file:
            yield from iter(lambda: file.read(_CHUNK), b"")
        return
    host = parts.hostname or "the package index"
    try:
        with httpx.stream(
            "GET", url, auth=_credentials(url, options), follow_redirects=True, timeout=_TIMEOUT
        ) as answer:
            if answer.status_code in (401, 403):
                raise Unbuildable(f"the package index {host} refuses access (HTTP {answer.status_code})")
            answer.raise_for_status()
            yield from answer.iter_raw(_CHUNK)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"{host}, where packages come from, does not answer ({type(error).__name__}).",
            hint="Check the network and the index settings of uv.",
        ) from error


def _credentials(url: str, options: Sequence[str]) -> tuple[str, str] | None:
    """Returns credentials. None: the URL contains some, the user's netrc has them, or there are none."""
    wanted = _place(url)
    for found in (*(option.partition(" ")[2] for option in options), *of_the_environment()):
        parts = urlsplit(found)
        if parts.username is not None and _place(found) == wanted:
            return unquote(parts.username), unquote(parts.password or "")
    return None


def _place(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
