"""Requirement lines of a model's files in pip's format, without options that must not be followed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from serinus.backends.mlflow.files import inside, read_text
from serinus.core.errors import Unbuildable
from serinus.core.redaction import address, without_credentials

_LOCAL = re.compile(r"(?:(?P<name>[\w.-]+(?:\[[^\]]*\])?)\s*@\s*)?(?:file://)?(?P<path>[^\s;@:]+)(?P<rest>\s*;.*)?")
_FILE = re.compile(r"(-r|--requirement|-c|--constraint)[\s=]*+(\S++)$")
_INDEX = re.compile(r"(-i|--index-url|--extra-index-url|--index|--default-index|-f|--find-links)[\s=]*+(\S++)$")
_KEPT = re.compile(r"--(?:pre|no-binary|only-binary)\b")
"""Options that select among the files of a package."""
_MOST_FILES = 50
_MOST_LINES, _LONGEST_LINE = 2_000, 20_000
"""The largest number of lines of an artifact, and their largest length. Lines with hashes are the longest."""
_VARIABLE = re.compile(r"\$\{\w+\}")
"""A variable, which pip and uv would replace by a value of this machine."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def normalised(name: str) -> str:
    """Returns the name of a package in the normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(line: str) -> str | None:
    """Returns the normalized name of the package that a line requires. None: it is an option or a path."""
    if line.startswith("-") or re.match(r"[./~]|\w+://", line):
        return None
    found = _NAME.match(line)
    return normalised(found[0]) if found else None


class Lines:
    """Reads the lines of one artifact. `indexes` are the package indexes that they may name. `notes` collects what was
    left out, in words."""

    def __init__(self, root: Path, indexes: Collection[str] = ()) -> None:
        self._root = root
        self._indexes = frozenset(address(url) for url in indexes)
        self._read = self._lines = 0
        self.notes: list[str] = []

    def of_file(self, path: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
        """Yields the lines of a requirements file and of all files that it includes."""
        if path in seen:
            return
        self._read += 1
        if self._read > _MOST_FILES:
            raise Unbuildable(
                f"The requirements in the artifact include each other more than {_MOST_FILES} times.",
                hint="Put all that is required into one file, and log the model again.",
            )
        for line in _raw(path):
            yield from self.of(line, path, seen | {path})

    def of(self, line: str, path: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
        """Yields the lines that `line` of the file `path` stands for.

        Files that it names are read, or given by their full path. Raises Unbuildable.
        """
        self._lines += 1
        if self._lines > _MOST_LINES or len(line) > _LONGEST_LINE:
            raise Unbuildable(
                f"{path.name} in the artifact is not a list of requirements: it has more than {_MOST_LINES:,} "
                f"lines, or one of more than {_LONGEST_LINE:,} characters.",
                hint="Log the model again with what it imports as its requirements.",
            )
        line = re.sub(r"^--([a-z-]+)\s*=\s*", r"--\1 ", line)
        if named := _FILE.match(line):
            yield from self._included(named[1], named[2], path, seen)
        elif line.startswith("-") and not re.match(r"(-e|--editable)\b", line):
            yield from self._option(line, path)
        else:
            yield self._package(line, path)

    def _included(self, option: str, name: str, path: Path, seen: frozenset[Path]) -> Iterator[str]:
        here = path.parent.relative_to(self._root)
        named = inside(self._root, str(here / name), path.name)
        if not named.is_file():
            raise Unbuildable(
                f"{path.name} in the artifact names {name}, which is missing.", hint="Log the model again."
            )
        if option in ("-r", "--requirement"):
            yield from self.of_file(named, seen)
            return
        if any(line.startswith("-") or _VARIABLE.search(line) or "://" in line for line in _raw(named)):
            raise Unbuildable(
                f"{named.name} in the artifact holds more than constraints: options, addresses or variables.",
                hint="Leave only lines such as `numpy<2` in it, and log the model again.",
            )
        yield f"-c {named}"

    def _option(self, line: str, path: Path) -> Iterator[str]:
        option = re.split(r"[\s=]", line, maxsplit=1)[0]
        found = _INDEX.match(line)
        if found is None:
            if _KEPT.match(line) and not _VARIABLE.search(line):
                yield line
            else:
                self.notes.append(f"{path.name}: left out the option {option}, which a model may not set")
        elif address(found[2]) in self._indexes and not _VARIABLE.search(found[2]):
            yield f"{found[1]} {without_credentials(found[2])}"
        else:
            self.notes.append(
                f"{path.name}: left out {option} for {host_of(found[2])}: no index is followed that `serinus up "
                "--index URL` does not allow"
            )

    def _package(self, line: str, path: Path) -> str:
        clean = without_credentials(line)
        if clean != line:
            self.notes.append(
                f"{path.name}: left out the credentials in the address of {host_of(clean)}: what comes with a model "
                "is not used to log in"
            )
        variable = _VARIABLE.search(clean)
        if variable is not None:
            raise Unbuildable(
                f"{path.name} in the artifact names the environment variable {variable[0]}, and environment "
                "variables are not read here.",
                hint="Write the address itself, or require a released version (`name==1.2.3`).",
            )
        return self._placed(clean)

    def _placed(self, line: str) -> str:
        """Replaces a wheel in the artifact by its full path. Files of the machine where the model was logged are
        refused."""
        match = _LOCAL.fullmatch(line)
        local = re.search(r"(^|@\s*)file:", line, re.IGNORECASE)
        if local is None and (match is None or not match["path"].endswith(".whl")):
            return line
        if match is None:
            raise Unbuildable(
                f"The requirement {line!r} is a file on the machine where the model was logged.",
                hint="Require a released version (`name==1.2.3`), or log the wheel with the model.",
            )
        relative = match["path"].removeprefix("./")
        wheel = self._root / relative
        if relative.startswith("/") or ".." in Path(relative).parts or not wheel.is_file():
            raise Unbuildable(
                f"The requirement {line!r} is a file of the machine where the model was logged, and not in the "
                "artifact.",
                hint="Require a released version (`name==1.2.3`), or log the wheel with the model.",
            )
        prefix = f"{match['name']} @ file://" if match["name"] else ""
        return f"{prefix}{wheel}{match['rest'] or ''}"


def host_of(text: str) -> str:
    """Returns the host of the first URL in `text`, for people. A path is left out, because it may contain a token."""
    found = re.search(r"://([^/\s?#]+)", without_credentials(text))
    return _VARIABLE.sub("...", found[1]) if found else "a place of its own"


def _raw(path: Path) -> list[str]:
    """Returns lines without comments and blank lines. Continuation lines are joined."""
    joined = re.sub(r"\\\r?\n", " ", read_text(path).removeprefix("\ufeff"))
    stripped = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in stripped if line]
