"""Layers: archives that are the same byte for byte wherever and whenever they are made, each made once."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from serinus.core.errors import Unavailable
from serinus.lib import directories, files, locks
from serinus.targets.kubernetes.images import trees
from serinus.targets.kubernetes.images.trees import Entry

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
FORMAT = 1
"""Of the archives. Another number where the same content gets other bytes: what was kept is then made anew."""
_TIME = 315532800
"""1980-01-01, the first that ZIP archives, into which libraries may put their files, can hold."""
_LEVEL = 4
"""Of gzip: 6 takes two thirds more time for 4% fewer bytes of an environment."""
_GZIP_WINDOW = 31
"""zlib's for a header of gzip, which then has neither a name nor a time."""
_BUFFER = 1 << 20
_KEY = re.compile(r"[a-z]+-[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Layer:
    digest: str
    """`sha256:...` of the compressed archive, by which a registry knows it."""
    diff_id: str
    """`sha256:...` of the archive itself."""
    size: int
    """Bytes, compressed."""

    @property
    def descriptor(self) -> dict[str, object]:
        return {"mediaType": GZIP, "digest": self.digest, "size": self.size}


def write(entries: Iterable[Entry], target: BinaryIO) -> Layer:
    """Writes the archive of `entries`, in an order of its own, without ever having all of it in memory.

    Times, owners and modes are those of the entries and not of the files, so that setuid bits go, too. Raises
    Unbuildable: a name or a file that no layer may have; OSError.
    """
    compressed = _Compressed(target)
    # PAX, for long names and sizes; names that are no UTF-8 are written as the bytes that they are.
    with tarfile.open(
        fileobj=cast("IO[bytes]", compressed),
        mode="w|",
        format=tarfile.PAX_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
        bufsize=_BUFFER,
    ) as archive:
        for entry in trees.checked(entries):
            _add(archive, entry)
    return compressed.finished()


class Layers:
    """Keeps layers as files in `directory`, each under what it is of: `environment-<64 hex digits>`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def known(self, key: str) -> Layer | None:
        """What the layer of `key` is, whether or not its file is still there. None: it has not been made here."""
        try:
            return Layer(**json.loads(self._record(key).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def layer(self, key: str, make: Callable[[BinaryIO], Layer]) -> Layer:
        """Returns the layer of `key`. If its file does not exist, `make` writes it, once for all concurrent callers.

        Raises what `make` raises, Unbuildable, and Unavailable where a file cannot be read or written.
        """
        known = self.known(key)
        if known is not None and self._is_whole(key, known):
            return known
        with said(), locks.held(self._made() / f"{key}.lock"):
            known = self.known(key)
            if known is not None and self._is_whole(key, known):
                return known
            with files.replacing(self.file(key)) as file:
                made = make(file)
            files.write(self._record(key), json.dumps(asdict(made)))
            return made

    def scratch(self) -> AbstractContextManager[Path]:
        """An empty directory beside the layers, removed at the end. Raises OSError."""
        return directories.passing(self._made() / "scratch")

    def file(self, key: str) -> Path:
        """Where the archive of `key` is, once it is made."""
        return self._directory / f"{_checked(key)}.tar.gz"

    def _made(self) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._directory

    def _record(self, key: str) -> Path:
        return self._directory / f"{_checked(key)}.json"

    def _is_whole(self, key: str, known: Layer) -> bool:
        try:
            return self.file(key).stat().st_size == known.size
        except FileNotFoundError:
            return False


@contextmanager
def said() -> Iterator[None]:
    """Raises Unavailable in place of OSError: a file cannot be read or written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise Unavailable(
            f"A layer of an image cannot be made: {error.strerror or 'a file changed meanwhile'}.",
            hint="Free some space." if full else "Check the files of the release, and who may read them.",
            delay=30,
        ) from error


def key(kind: str, *parts: object) -> str:
    """For `Layers`: of a kind and all that decides what is in the layer."""
    return f"{kind}-{hashlib.sha256(json.dumps([FORMAT, kind, *parts]).encode()).hexdigest()}"


def _checked(name: str) -> str:
    assert _KEY.fullmatch(name), name
    return name


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.name)
    info.mtime, info.uid, info.gid = _TIME, entry.owner, entry.owner
    usual = 0o755 if entry.is_directory or entry.executable else 0o644
    info.mode = usual if entry.mode is None else entry.mode
    if entry.is_directory:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif entry.target:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
        archive.addfile(info)
    elif entry.content is not None:
        info.size = len(entry.content)
        archive.addfile(info, io.BytesIO(entry.content))
    elif entry.source is not None:
        with trees.opened(entry.source) as file:
            info.size = os.fstat(file.fileno()).st_size
            archive.addfile(info, file)


class _Compressed:
    """Compresses what is written, and computes both digests on the way."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._plain, self._packed = hashlib.sha256(), hashlib.sha256()
        self._size = 0
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def write(self, content: bytes) -> int:
        self._plain.update(content)
        self._put(self._compressor.compress(content))
        return len(content)

    def finished(self) -> Layer:
        self._put(self._compressor.flush())
        return Layer(f"sha256:{self._packed.hexdigest()}", f"sha256:{self._plain.hexdigest()}", self._size)

    def _put(self, packed: bytes) -> None:
        self._packed.update(packed)
        self._target.write(packed)
        self._size += len(packed)
