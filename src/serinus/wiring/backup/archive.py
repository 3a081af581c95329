"""The file of a backup: a compressed tar of regular files, with a manifest at its end.

The manifest has the size and SHA-256 of every file, so that a truncated or changed archive is refused. Before that
check nothing in it is trusted: names, types and sizes are checked one by one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import TypeAdapter, ValidationError

from serinus.core.errors import InvalidInput, Refused
from serinus.lib import files

FORMAT = 1
MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 256 << 20
_PIECE = 1 << 20
_NAME = re.compile(r"[^\0-\x1f\x7f]+")
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in the manifest."""

    size: int
    """In bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a backup."""

    format: int
    version: str
    """The version of Serinus."""
    taken_at: str
    home: str
    """The path of the saved home. `sockets` is that of its sockets."""
    sockets: str
    files: Mapping[str, Entry]


class Writer:
    """Writes an archive."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.files: dict[str, Entry] = {}

    def add(self, name: str, content: IO[bytes]) -> None:
        """Adds a file with its present size. Bytes that are appended meanwhile are left out. Raises OSError."""
        found = os.fstat(content.fileno())
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = found.st_size, found.st_mode & 0o700, found.st_mtime
        reading = _Hashing(content, found.st_size)
        self._tar.addfile(member, reading)
        self.files[name] = Entry(found.st_size, reading.digest.hexdigest())

    def end(self, manifest: Manifest) -> None:
        """Writes the manifest."""
        text = json.dumps(asdict(manifest)).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mode = len(text), 0o600
        self._tar.addfile(member, io.BytesIO(text))


@contextmanager
def written(path: Path) -> Iterator[Writer]:
    """Opens an archive for writing, 0600. It appears at `path` once it is complete and on disk.

    Raises OSError, and Refused where another backup is being written to the same file.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(files.replacing(path, alone=True))
        except BlockingIOError as error:
            raise Refused(
                f"another backup is already being written to {path}", hint="Wait until it is finished."
            ) from error
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar:
            yield Writer(tar)


def extracted(
    path: Path, into: Path, known: Callable[[str], bool], wanted: Callable[[str], bool] = lambda _: True
) -> Manifest:
    """Extracts the files into `into`, an empty directory, with mode 0600 or less. Returns the manifest.

    `known` says whether a home has such a file, and `wanted` whether to write it. All of them are checked. Raises
    InvalidInput where the archive is incomplete or not written by Serinus, and OSError.
    """
    found: dict[str, Entry] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(path, "r|gz") as tar:
            for member in tar:
                if manifest is not None:
                    raise _not_ours(path, "there is data after its end")
                _check(path, member, found)
                content = tar.extractfile(member)
                assert content is not None
                if member.name == MANIFEST:
                    manifest = _read_manifest(path, content, member.size)
                    continue
                if not known(member.name):
                    raise _not_ours(path, f"{shown(member.name)} is not part of a home")
                put = _put if wanted(member.name) else _passed_over
                found[member.name] = put(content, into / member.name, member)
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError, ValueError) as error:
        raise InvalidInput(f"{path} is not a complete backup: {type(error).__name__}", hint=_ANOTHER) from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _not_ours(path, "two of its names contradict each other") from error
    if manifest is None:
        raise InvalidInput(f"{path} is not a complete backup: its end is missing", hint=_ANOTHER)
    if dict(manifest.files) != found:
        raise _not_ours(path, "its files are not those that its manifest names")
    return manifest


_ANOTHER = "It may have been truncated when it was copied. Use another backup."


def _check(path: Path, member: tarfile.TarInfo, found: Mapping[str, Entry]) -> None:
    """Checks one member of the archive. Raises InvalidInput."""
    parts = PurePosixPath(member.name).parts
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise _not_ours(path, f"{shown(member.name)} is a link, a device or something else that is not a file")
    plain = member.name == "/".join(parts) and not member.name.startswith("/") and not {"..", "."} & set(parts)
    if not (plain and _NAME.fullmatch(member.name) and len(member.name) <= _LONGEST):
        raise _not_ours(path, f"{shown(member.name)} is not the name of a file inside a home")
    if member.name in found:
        raise _not_ours(path, f"{shown(member.name)} is in the backup twice")


def shown(name: str) -> str:
    """Returns the name as it may be printed."""
    return ascii(name[:80])


def _not_ours(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path} is not a backup of Serinus: {what}", hint="Nothing was restored from it.")


def _put(content: IO[bytes], target: Path, member: tarfile.TarInfo) -> Entry:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    reading = _Hashing(content, member.size)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while piece := reading.read(_PIECE):
            file.write(piece)
        file.flush()
        os.fchmod(descriptor, member.mode & 0o600 or 0o600)
        os.fsync(descriptor)
    return Entry(member.size, reading.digest.hexdigest())


def _passed_over(content: IO[bytes], _target: Path, member: tarfile.TarInfo) -> Entry:
    reading = _Hashing(content, member.size)
    while reading.read(_PIECE):
        pass
    return Entry(member.size, reading.digest.hexdigest())


def _read_manifest(path: Path, content: IO[bytes], size: int) -> Manifest:
    if size > _LARGEST_MANIFEST:
        raise _not_ours(path, "its manifest is too large")
    try:
        said = json.loads(content.read())
        if isinstance(said, dict) and said.get("format", 0) > FORMAT:
            raise Refused(
                f"{path} was written by a newer version of Serinus, {shown(str(said.get('version')))}",
                hint="Restore it with that version.",
            )
        return TypeAdapter(Manifest).validate_python(said)
    except (ValidationError, TypeError, RecursionError) as error:
        raise _not_ours(path, "its manifest cannot be read") from error


class _Hashing(io.RawIOBase):
    """Reads the first `size` bytes and computes their digest. Raises OSError where there are fewer."""

    def __init__(self, of: IO[bytes], size: int) -> None:
        super().__init__()
        self._of, self._left = of, size
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        piece = self._of.read(wanted) if wanted else b""
        if wanted and not piece:
            raise EOFError("a file has become shorter while it was read")
        self._left -= len(piece)
        self.digest.update(piece)
        return piece
