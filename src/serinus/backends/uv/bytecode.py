"""Writes the bytecode of an environment's packages, because a confined worker cannot write it.

uv hard-links a package's files from its cache into every environment, so a file has the same inode in all of them.
Bytecode that was compiled for one environment is linked into the next, because compiling takes longer than everything
else together. Test suites are left out: they are a third of the work, and serving does not import them.

The compiler is confined, runs in the base interpreter, and writes to a directory of its own, whose files are taken over
as data. It imports nothing of a package, and each package is compiled by a process of its own.
"""
# os.path is used because there are thousands of files.
# ruff: noqa: PTH103, PTH108, PTH118, PTH120

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serinus_runtime.isolation import written
from serinus_runtime.isolation.scratch import Bounds

from serinus.backends.uv.confined import Confined, Failed, Limits
from serinus.backends.uv.interpreters import Interpreter
from serinus.core.errors import Unavailable
from serinus.lib import files

_NOT_SERVED = frozenset({"tests", "test", "__pycache__"})
_LIMITS = Limits(1800.0, Bounds(8 << 30, 1_000_000))
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Bytecode:
    """Keeps bytecode below `directory`. `confined`: the compiler is confined as models are."""

    directory: Path
    confined: bool = True

    def provide(self, packages: Path, interpreter: Interpreter, keep_open: Sequence[int] = ()) -> tuple[int, int]:
        """Provides bytecode for all sources below `packages`. Returns their number, and how many had to be compiled.

        Raises Unavailable and OSError.
        """
        kept = self.directory / f"{_tag(interpreter)}-{interpreter.text}"
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        # This comes first, because the inode number of a deleted file may be used again.
        _forget_unused(str(kept))
        groups = _groups(str(packages))
        names = {source: f"{kept}/{name}" for sources in groups for source, name in _names(packages, sources).items()}
        missing = [
            # Bytecode that exists without being kept came with its package.
            [one for one in sources if not _linked(names[one], place := _beside(one, interpreter))
             and not os.path.lexists(place)]
            for sources in groups
        ]  # fmt: skip
        missing = sorted(filter(None, missing), key=len, reverse=True)
        compiled = 0
        if missing:
            with tempfile.TemporaryDirectory(dir=kept, prefix=".compiling-", ignore_cleanup_errors=True) as made:
                self._compile(missing, packages, Path(made), interpreter, keep_open)
                for group, sources in enumerate(missing):
                    for number, source in enumerate(sources):
                        if _take(Path(made, str(group), f"{number}.pyc"), names[source]):
                            compiled += _linked(names[source], _beside(source, interpreter))
        return len(names), compiled

    def provide_reproducibly(self, packages: Path, interpreter: Interpreter) -> None:
        """For all sources below `packages`: bytecode that is the same byte for byte wherever it is made, and valid
        whatever times the files get. There is none of the few files for which Python does not write the same each time.
        It is not shared. Raises Unavailable, OSError."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        groups = _groups(str(packages))
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".compiling-", ignore_cleanup_errors=True) as made:
            self._compile(groups, packages, Path(made), interpreter, root=packages)
            for group, sources in enumerate(groups):
                for number, source in enumerate(sources):
                    place = _beside(source, interpreter)
                    if not os.path.lexists(place):
                        os.makedirs(os.path.dirname(place), exist_ok=True)
                        _take(Path(made, str(group), f"{number}.pyc"), place)

    def _compile(
        self,
        groups: Sequence[Sequence[str]],
        packages: Path,
        target: Path,
        interpreter: Interpreter,
        keep_open: Sequence[int] = (),
        root: Path | None = None,
    ) -> None:
        config = {
            "groups": groups,
            "readable": [str(packages)],
            "target": str(target),
            "processes": os.cpu_count() or 1,
            "root": None if root is None else str(root),
        }
        run = Confined(self.confined).run
        try:
            run(
                "trials.bytecode",
                config,
                interpreter=interpreter.path,
                directory=target,
                limits=_LIMITS,
                keep_open=keep_open,
            )
        except Failed as error:
            raise Unavailable(
                f"the environment's bytecode could not be compiled: {str(error)[:400]}.", delay=30
            ) from error


def _groups(root: str) -> Sequence[Sequence[str]]:
    """Returns the sources by the first component of their path, which is a package or a single module."""
    found: dict[str, list[str]] = {}
    for source in _sources(root):
        found.setdefault(source[len(root) + 1 :].partition("/")[0], []).append(source)
    return list(found.values())


def _sources(root: str) -> Iterator[str]:
    for directory, names, inside in os.walk(root):
        names[:] = [name for name in names if name not in _NOT_SERVED]
        yield from (os.path.join(directory, name) for name in inside if name.endswith(".py"))


def _tag(interpreter: Interpreter) -> str:
    return f"cpython-{interpreter.version[0]}{interpreter.version[1]}"


def _beside(source: str, interpreter: Interpreter) -> str:
    directory, name = os.path.split(source)
    return f"{directory}/__pycache__/{name[: -len('.py')]}.{_tag(interpreter)}.pyc"


def _names(packages: Path, sources: Sequence[str]) -> dict[str, str]:
    """Returns the names under which the bytecode of a group is kept.

    It is shared only with environments that have the same group, file by file, because one process compiles the whole
    group and a file may belong to another package than its directory suggests.
    """
    seen = {source: os.lstat(source) for source in sources}
    parts = {source: f"{one.st_ino}-{one.st_mtime_ns}-{one.st_size}" for source, one in seen.items()}
    whole = sorted(f"{source[len(str(packages)) :]} {part}" for source, part in parts.items())
    digest = hashlib.sha256("\n".join(whole).encode(errors="surrogateescape")).hexdigest()[:16]
    return {source: f"{part}-{digest}.pyc" for source, part in parts.items()}


def _take(source: Path, target: str) -> bool:
    """Copies a regular file that a confined process wrote. Returns whether it did."""
    try:
        content = written.content(source, _LARGEST)
    except (OSError, ValueError):
        return False
    files.write(Path(target), content, mode=None, durable=False)
    return True


def _linked(source: str, target: str) -> bool:
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(source, target)
    except OSError:  # It does not exist, exists already, is on another file system or has too many links.
        return False
    return True


def _forget_unused(kept: str) -> None:
    """Removes bytecode that no environment uses."""
    with os.scandir(kept) as entries:
        for entry in entries:
            seen = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
