"""Puts the bytecode of an environment's packages beside them: a confined worker cannot write it.

uv hard-links a package's files from its cache into every environment, so the same file is the same inode everywhere,
and what was compiled for one environment is linked into the next: compiling takes longer than all else together.
Test suites are left out: they are a third of the work, and nothing that serves imports them.

The compiler runs confined, in the base interpreter, and writes to a directory of its own. What it wrote there is taken
over as data. It imports nothing of a package, and each package is compiled by a process of its own.
"""
# os.path, because it is thousands of files:
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
    """Keeps bytecode below `directory`. `confined`: whether the compiler is, as models are."""

    directory: Path
    confined: bool = True

    def provide(self, packages: Path, interpreter: Interpreter, keep_open: Sequence[int] = ()) -> tuple[int, int]:
        """For all sources below `packages`: how many they are, and how many had to be compiled. Raises Unavailable,
        OSError."""
        kept = self.directory / f"{_tag(interpreter)}-{interpreter.text}"
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Before anything is taken from there: a file that is gone may have left its number to another.
        _forget_unused(str(kept))
        groups = _groups(str(packages))
        names = {source: f"{kept}/{name}" for sources in groups for source, name in _names(packages, sources).items()}
        missing = [
            # What is there without being kept came with its package, which is as well.
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

    def _compile(
        self,
        groups: Sequence[Sequence[str]],
        packages: Path,
        target: Path,
        interpreter: Interpreter,
        keep_open: Sequence[int],
    ) -> None:
        config = {
            "groups": groups,
            "readable": [str(packages)],
            "target": str(target),
            "processes": os.cpu_count() or 1,
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
    """The sources by the first part of their path: a package, or a module that is in none."""
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
    """Under which the bytecode of a group is kept: it is shared only with environments that have the same group, file
    by file, as one process compiles all of it and a file may belong to another package than its directory says."""
    seen = {source: os.lstat(source) for source in sources}
    parts = {source: f"{one.st_ino}-{one.st_mtime_ns}-{one.st_size}" for source, one in seen.items()}
    whole = sorted(f"{source[len(str(packages)) :]} {part}" for source, part in parts.items())
    digest = hashlib.sha256("\n".join(whole).encode(errors="surrogateescape")).hexdigest()[:16]
    return {source: f"{part}-{digest}.pyc" for source, part in parts.items()}


def _take(source: Path, target: str) -> bool:
    """Copies a plain file that a confined process wrote; anything else is left."""
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
    except OSError:  # not there, there already, another file system, too many links: all the same to who asks
        return False
    return True


def _forget_unused(kept: str) -> None:
    """What no environment has any more."""
    with os.scandir(kept) as entries:
        for entry in entries:
            seen = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
