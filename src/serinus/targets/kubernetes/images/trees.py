"""What is in a layer: entries by name, from directories on this machine or made here. Nothing of it is followed."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from serinus.core.errors import Unbuildable

_WHITEOUT = ".wh."
"""Before the name of a file that a layer takes away, as the OCI image specification has it."""
_PIECE = 1 << 20

Links = Callable[[str, str], str]
"""The target of a symbolic link as it is in the image, from the target and the path of the link, relative to the root.
Raises Unbuildable: there may be no such link."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory where it has neither `source`, `content` nor `target`."""

    name: str
    """Relative to the root of the image, without a slash at either end. Bytes that are no UTF-8 are surrogates."""
    source: Path | None = None
    """A regular file with its content."""
    content: bytes | None = None
    target: str = ""
    """Of a symbolic link."""
    executable: bool = False
    mode: int | None = None
    """None: 0755 for directories and what is executable, 0644 for all else, whatever it is on this machine."""
    owner: int = 0
    """User and group."""

    @property
    def is_directory(self) -> bool:
        return self.source is None and self.content is None and not self.target


def directory(name: str, *, mode: int | None = None, owner: int = 0) -> Entry:
    return Entry(name, mode=mode, owner=owner)


def walk(
    root: Path,
    place: str,
    *,
    links: Links | None = None,
    data: bool = False,
    wanted: Callable[[str], bool] = lambda _: True,
) -> Iterator[Entry]:
    """Everything below `root`, as below `place` in the image.

    `links`: which symbolic links there may be; None: none. `data`: whether nothing of it is
    executable. `wanted`: of the path relative to `root`; what is below an unwanted directory is left out, too.

    Raises Unbuildable where there is anything but files, directories and such links; OSError.
    """
    yield directory(place)
    waiting = [""]
    while waiting:
        above = waiting.pop()
        with os.scandir(root / above) as found:
            for one in found:
                relative = f"{above}/{one.name}" if above else one.name
                if not wanted(relative):
                    continue
                entry = _entry(one, relative, f"{place}/{relative}", links)
                yield replace(entry, executable=False) if data else entry
                if entry.is_directory:
                    waiting.append(relative)


def kept(target: str, relative: str) -> str:
    """Links as they are, of files that are a whole image."""
    del relative
    return target


def inside(root: Path) -> Links:
    """Links to places below `root`, made relative. Raises Unbuildable: one leads elsewhere."""

    def checked_link(target: str, relative: str) -> str:
        here = posixpath.dirname(relative)
        if target.startswith("/"):
            target = posixpath.relpath(target, root / here)
        parts = target.split("/")
        leading = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
        # What follows a `..` behind a name depends on where that name leads.
        if leading > (len(here.split("/")) if here else 0) or ".." in parts[leading:]:
            raise Unbuildable(f"{_shown(relative)} is a symbolic link that leads out of its directory.")
        return target

    return checked_link


def checked(entries: Iterable[Entry]) -> list[Entry]:
    """In the order of a layer: by the bytes of their names, so that a directory comes before what is in it; with the
    directories above them. Raises Unbuildable: a name that leads elsewhere, or is there twice with another content."""
    found: dict[str, Entry] = {}
    for entry in entries:
        parts = entry.name.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\0" in entry.name:
            raise Unbuildable(f"{_shown(entry.name)} is not a valid file name in an image.")
        if any(part.startswith(_WHITEOUT) for part in parts):
            raise Unbuildable(
                f"{_shown(entry.name)} begins with '{_WHITEOUT}', by which an image takes files away.",
                hint="Rename the file, and log the model again.",
            )
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if not found.setdefault(above, directory(above)).is_directory:
                raise Unbuildable(f"{_shown(above)} is both a file and a directory.")
        before = found.get(entry.name)
        if before is not None and not before.is_directory:
            raise Unbuildable(f"{_shown(entry.name)} is there twice.")
        found[entry.name] = entry
    return [found[name] for name in sorted(found, key=os.fsencode)]


def digest(entries: Iterable[Entry]) -> str:
    """sha256 over the names, the kinds and the contents, in hex. Raises Unbuildable, OSError."""
    whole = hashlib.sha256()
    for entry in checked(entries):
        kind = (entry.target, entry.executable, entry.mode, entry.owner, entry.is_directory)
        whole.update(os.fsencode(f"{entry.name}\0{kind}\0"))
        content = hashlib.sha256(entry.content or b"")
        if entry.source is not None:
            with opened(entry.source) as file:
                while piece := file.read(_PIECE):
                    content.update(piece)
        whole.update(content.digest())
    return whole.hexdigest()


def opened(source: Path) -> BinaryIO:
    """For reading; no link is followed. Raises Unbuildable: it is no regular file any more; OSError."""
    file = os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unbuildable(f"{_shown(source.name)} is not a regular file any more.")
    return file


def _entry(one: os.DirEntry[str], relative: str, name: str, links: Links | None) -> Entry:
    if one.is_symlink():
        if links is None:
            raise Unbuildable(
                f"{_shown(relative)} is a symbolic link, which may lead anywhere on another machine.",
                hint="Put the file itself there.",
            )
        return Entry(name, target=links(str(Path(one.path).readlink()), relative))
    seen = one.stat(follow_symlinks=False)
    if stat.S_ISDIR(seen.st_mode):
        return Entry(name)
    if stat.S_ISREG(seen.st_mode):
        return Entry(name, source=Path(one.path), executable=bool(seen.st_mode & 0o100))
    raise Unbuildable(f"{_shown(relative)} is neither a file nor a directory.")


def _shown(name: str) -> str:
    return repr(name.encode(errors="backslashreplace").decode()[-200:])
