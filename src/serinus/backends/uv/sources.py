"""Builds wheels from source archives where the operator allows it. A build runs the code of the package, confined.

1. uv names the archive and its hash, without a build. The archive is downloaded as data. 2. A confined process reads
the build requirements. They become an environment of wheels, like any other. 3. A confined process builds in that
environment, without a network, and writes to a directory of its own. 4. The wheel is copied as a regular file, kept by
the digest of its sources, and installed like any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from serinus_runtime.isolation import written
from serinus_runtime.isolation.scratch import Bounds, remove

from serinus.backends.uv.building import Builder
from serinus.backends.uv.command import Uv
from serinus.backends.uv.confined import Confined, Failed, Limits
from serinus.backends.uv.downloads import download
from serinus.backends.uv.interpreters import Interpreter
from serinus.backends.uv.locking import Lock, Locks, Wanted, dated, normalised
from serinus.backends.uv.words import NoWheel
from serinus.core.errors import Unbuildable
from serinus.lib import directories

_READ = Limits(120.0, Bounds(4 << 30, 200_000))
_BUILD = Limits(1800.0, Bounds(4 << 30, 200_000))
_MEMORY = 8 << 30
_MOST_REQUIRED, _LONGEST_REQUIREMENT = 100, 500
_MOST_ROUNDS = 4
"""The number of rounds in which a build backend may request more packages before it builds."""
_LARGEST_WHEEL = 1 << 30
_BUILDING = ".building-"
_ABANDONED = 3600.0
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]* *(\[[\w., -]*\])?[\w.,<>=!~*+() -]*(;[^@$\\\r\n]*)?")
"""Matches a released version, without options, URLs, paths or variables."""
_BACKEND = re.compile(r"[\w.]+(:[\w.]+)?")
_WHEEL = re.compile(r"([\w.]+)-([\w.+!]+)(?:-\d\w*)?-[\w.]+-[\w.]+-[\w.]+\.whl")


@dataclass(frozen=True, slots=True)
class _Archive:
    name: str
    version: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Keeps built wheels below `directory`."""

    uv: Uv
    locks: Locks
    tools: Builder
    directory: Path
    confined: Confined

    def wheel(
        self, missing: NoWheel, wanted: Wanted, interpreter: Interpreter, as_of: date | None, say: Callable[[str], None]
    ) -> Path:
        """Builds the wheel of a package that has none. Raises Unbuildable, Unavailable and OSError."""
        _sweep(self.directory)
        archive = self._found(missing.package, wanted, interpreter, as_of)
        what = f"{archive.name}=={archive.version}"
        with tempfile.TemporaryDirectory(prefix="serinus-") as temporary:
            file = download(archive.url, archive.sha256, Path(temporary), wanted.options)
            try:
                system = self._read(file)
                tools = replace(wanted, packages=(), options=wanted.sources, built=())
                requires = system.requires
                for _ in range(_MOST_ROUNDS):
                    lock = self._tools_lock(replace(tools, packages=requires), interpreter, as_of, say)
                    kept = self.directory / hashlib.sha256(f"{archive.sha256} {lock.digest}".encode()).hexdigest()
                    if found := next(iter(kept.glob("*.whl")), None):
                        return found
                    environment = self.tools.place(self.tools.build(lock, tools, say))
                    say(f"building {what} from source, confined")
                    more = self._build(archive, file, system, requires, environment, interpreter, kept)
                    if not more:
                        return next(kept.glob("*.whl"))
                    requires = (*requires, *more)
                raise Failed("its build keeps requesting more packages")
            except Failed as error:
                raise Unbuildable(
                    f"{what} has no wheel for this Python and platform, and building it from source failed: {error}",
                    hint="Pin a version that has a wheel, or install what its build needs on this machine.",
                ) from error

    def _found(self, package: str, wanted: Wanted, interpreter: Interpreter, as_of: date | None) -> _Archive:
        """Returns the newest archive that the requirements allow. Its metadata is declared empty, so that uv does not
        build it."""
        name = normalised(re.split(r"[^\w.-]", package)[0])
        own = [line for line in wanted.packages if normalised(re.split(r"[^\w.-]", line)[0]) == name]
        # 0700, because the options may contain credentials.
        with tempfile.TemporaryDirectory(prefix="serinus-") as temporary:
            place = Path(temporary)
            source, target = place / "requirements.txt", place / "pylock.toml"
            source.write_text("\n".join((*wanted.sources, package, *own)) + "\n")
            self.uv.run(
                "pip", "compile", source, "--output-file", target, "--format", "pylock.toml", "--no-deps",
                "--python", interpreter.path, "--no-python-downloads", "--no-header", "--no-annotate", *dated(as_of),
                small=True, settings=f'[[dependency-metadata]]\nname = "{name}"\nrequires-dist = []\n',
            )  # fmt: skip
            (found,) = tomllib.loads(target.read_text())["packages"]
            sdist = found.get("sdist") or {}
            if not sdist.get("hashes", {}).get("sha256"):
                raise Unbuildable(f"the package index has no source archive of {package} either")
            url = sdist.get("url") or (place / sdist["path"]).resolve().as_uri()
        return _Archive(name, found["version"], url, sdist["hashes"]["sha256"])

    def _read(self, file: Path) -> _BuildSystem:
        """Reads the build requirements in this process's own interpreter, which can parse TOML. Raises Failed."""
        with _scratch(self.directory) as scratch:
            config = {"archive": str(file), "scratch": str(scratch)}
            run = self.confined.run
            return _BuildSystem.of(
                run(
                    "trials.source", config, interpreter=Path(sys.executable).resolve(), directory=scratch, limits=_READ
                )
            )

    def _tools_lock(
        self, tools: Wanted, interpreter: Interpreter, as_of: date | None, say: Callable[[str], None]
    ) -> Lock:
        try:
            return self.locks.resolve(tools, interpreter, as_of, say)
        except Unbuildable as error:
            raise Failed(f"what its build requires cannot be installed: {error.message}") from error

    def _build(
        self,
        archive: _Archive,
        file: Path,
        system: _BuildSystem,
        requires: Sequence[str],
        environment: Path,
        interpreter: Interpreter,
        kept: Path,
    ) -> Sequence[str]:
        """Builds the wheel into `kept`. Returns requirements beyond `requires` where the backend needs more. Raises
        Failed."""
        with _scratch(self.directory) as scratch:
            config = {
                "archive": str(file),
                "backend": system.backend,
                "backend_path": system.backend_path,
                "requires": requires,
                "scratch": str(scratch),
                "memory_limit_bytes": _MEMORY,
            }
            run = self.confined.run
            said = run(
                "trials.build",
                config,
                interpreter=interpreter.path,
                environment=environment,
                directory=scratch,
                limits=_BUILD,
            )
            answer = _object(said)
            if "requires" in answer:
                return _requirements(answer["requires"])
            _take(scratch / "wheel", answer.get("wheel"), archive, kept)
            return ()


@dataclass(frozen=True, slots=True)
class _BuildSystem:
    """The build requirements of a package, validated."""

    requires: tuple[str, ...]
    backend: str
    backend_path: tuple[str, ...]

    @classmethod
    def of(cls, said: str) -> _BuildSystem:
        answer = _object(said)
        backend, path = answer.get("backend"), answer.get("backend_path")
        if not isinstance(backend, str) or not _BACKEND.fullmatch(backend):
            raise Failed("the build-backend of its pyproject.toml does not name one")
        if not isinstance(path, list) or len(path) > _MOST_REQUIRED or not all(isinstance(one, str) for one in path):
            raise Failed("the backend-path of its pyproject.toml is not a list of paths")
        return cls(_requirements(answer.get("requires")), backend, tuple(path))


def _sweep(directory: Path) -> None:
    """Removes the remains of killed builds."""
    for left in directory.glob(".*-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                remove(left)


def _object(said: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Failed("its process gave no answer")
    return answer


def _requirements(said: Any) -> tuple[str, ...]:
    if not isinstance(said, list) or len(said) > _MOST_REQUIRED:
        raise Failed("what its build requires is not a list of packages")
    for one in said:
        if not isinstance(one, str) or len(one) > _LONGEST_REQUIREMENT or not _REQUIREMENT.fullmatch(one):
            raise Failed("its build requires something that is not a released version of a package")
    return tuple(said)


def _take(directory: Path, name: Any, archive: _Archive, kept: Path) -> None:
    """Copies the wheel that a confined process wrote, if it is one of that package. Raises Failed."""
    found = _WHEEL.fullmatch(name) if isinstance(name, str) else None
    if found is None or (normalised(found[1]), found[2]) != (archive.name, archive.version):
        raise Failed("it built another package")
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with (
            directories.appearing(kept) as aside,
            written.plain(directory / name) as source,
            (aside / name).open("xb") as target,
        ):
            left = _LARGEST_WHEEL
            while piece := source.read(1 << 20):
                left -= len(piece)
                if left < 0:
                    raise Failed(f"its wheel is larger than {_LARGEST_WHEEL >> 30} GiB")
                target.write(piece)
    except (OSError, ValueError) as error:
        raise Failed("its build left no wheel") from error


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """Yields a directory to which one confined process may write."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=parent, prefix=_BUILDING))
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            remove(made)
