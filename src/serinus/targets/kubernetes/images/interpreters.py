"""Which installation of Python goes into an image."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from serinus.core.errors import Unbuildable
from serinus.core.ports import LockedEnvironment
from serinus.targets.kubernetes.images import contents, trees

_MACHINES = {62: "linux/amd64", 183: "linux/arm64"}
"""`e_machine` of ELF -> platform."""
_OF_UV = {"linux/amd64": "linux-x86_64-gnu", "linux/arm64": "linux-aarch64-gnu"}
THIS_PYTHON = LockedEnvironment(
    "", ".".join(map(str, sys.version_info[:3])), Path(sys.base_prefix, "bin", "python3"), ()
)
"""The interpreter that runs Serinus, with no packages."""


class Interpreters:
    """`named`: prefixes of relocatable installations, for whatever platform. They are preferred to the one that an
    environment on this machine was made with, since that one needs the system libraries of this machine."""

    def __init__(self, named: Sequence[Path] = ()) -> None:
        self._named = tuple(named)
        self._digests: dict[tuple[Path, str], str] = {}

    def prefix(self, locked: LockedEnvironment, platform: str) -> Path:
        """An installation of the same minor version for `platform`, of the same patch version where there is one.
        Raises Unbuildable: there is none."""
        minor = minor_of(locked)
        found = [one for one in (*self._named, locked.interpreter.parent.parent) if platform_of(one, minor) == platform]
        # pyenv's `3.11.7`, uv's `cpython-3.11.7-linux-x86_64-gnu`
        exact = [one for one in found if locked.python_version in one.name.split("-")]
        for one in (*exact, *found):
            return one
        fetched = f"cpython-{minor}-{_OF_UV.get(platform, platform)}"
        raise Unbuildable(
            f"There is no installation of Python {minor} for {platform} to put into an image.",
            hint=f"Fetch one (`uv python install {fetched}`) and name its prefix.",
        )

    def digest(self, prefix: Path, minor: str) -> str:
        """Of what an image gets of it. Read once: an installation does not change under a process that uses it."""
        if (prefix, minor) not in self._digests:
            self._digests[prefix, minor] = trees.digest(contents.python(prefix, minor))
        return self._digests[prefix, minor]


def minor_of(locked: LockedEnvironment) -> str:
    """`3.11`"""
    return ".".join(locked.python_version.split(".")[:2])


def platform_of(prefix: Path, minor: str) -> str | None:
    """The platform that the interpreter at `prefix` is a program for. None: there is none, or for another system."""
    try:
        with (prefix / "bin" / f"python{minor}").open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    little_endian = head[:6] == b"\x7fELF\x02\x01"
    return _MACHINES.get(int.from_bytes(head[18:20], "little")) if little_endian else None
