"""The files of a model: complete, inside their directory, and identified by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from serinus.core.errors import Unbuildable
from serinus.core.text import harmless

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_CHUNK = 1 << 20
_LONGEST_TEXT = 2 << 20
"""The largest text file that is read, in bytes: hundreds of times what MLflow writes."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The digest and the size of a directory."""

    digest: str
    """The SHA-256 over path, size and content of every file, sorted by relative path."""
    size_bytes: int


def take_inventory(root: Path) -> Inventory:
    """Reads every file once. Raises Unbuildable for a symbolic link, a device, or a Git LFS pointer in place of a
    file."""
    digest = hashlib.sha256()
    total = 0
    for path in sorted(walk(root), key=lambda found: os.fsencode(found.relative_to(root))):
        name = path.relative_to(root).as_posix()
        if harmless(name) != name or not set("\t\n").isdisjoint(name):
            raise Unbuildable(
                f"The name of {name!r} in the artifact holds characters that cannot be shown.",
                hint="Rename the file, and log the model again.",
            )
        size = path.stat().st_size
        # Path and size come first, so that two different trees cannot yield the same bytes.
        digest.update(f"{name}\0{size}\0".encode())
        with path.open("rb") as file:
            first = file.read(_CHUNK)
            if first.startswith(_LFS_POINTER):
                raise Unbuildable(
                    f"{name} is a Git LFS pointer, not the file itself.",
                    hint="Run `git lfs pull` where the model was logged from, then log and register it again.",
                )
            digest.update(first)
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        total += size
    return Inventory(digest.hexdigest(), total)


def walk(root: Path) -> Iterator[Path]:
    """Yields every regular file below `root`. Raises Unbuildable for anything else except directories."""
    for directory, names, files in os.walk(root, followlinks=False):
        for path in (Path(directory, name) for name in (*names, *files)):
            if path.is_symlink():
                raise Unbuildable(
                    f"{path.relative_to(root).as_posix()} in the artifact is a symbolic link.",
                    hint="Log the file itself: a link may lead anywhere on another machine.",
                )
            if path.is_file():
                yield path
            elif not path.is_dir():
                raise Unbuildable(f"{path.relative_to(root).as_posix()} in the artifact is not an ordinary file.")


def read_text(path: Path) -> str:
    """Returns the text of a file of the model. Raises Unbuildable where it is too long or not text."""
    with path.open("rb") as file:
        content = file.read(_LONGEST_TEXT + 1)
    if len(content) > _LONGEST_TEXT:
        raise Unbuildable(
            f"{path.name} in the artifact is longer than {_LONGEST_TEXT >> 20} MiB.",
            hint="Log the model again with what it needs in files of its own.",
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Unbuildable(f"{path.name} in the artifact is not UTF-8 text.", hint="Log the model again.") from error


def inside(root: Path, relative: str, named_by: str) -> Path:
    """Returns `relative` as a path below `root`, which need not exist. Raises Unbuildable where it leads outside."""
    posix, windows = PurePosixPath(relative), PureWindowsPath(relative)
    if posix.is_absolute() or windows.drive or windows.root or ".." in posix.parts or ".." in windows.parts:
        raise Unbuildable(
            f"{named_by} names {relative!r}, which is outside of the artifact.",
            hint="Log the model again with all that it needs inside it.",
        )
    return root / posix
