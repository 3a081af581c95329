"""Resolves requirements to a complete lock with hashes, as of a date. Each result is kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Interpreter
from serinus.core.errors import Unbuildable
from serinus.core.redaction import without_credentials
from serinus.lib import files

_PLACE = re.compile(r"^([./~]|file:|[\w+.-]+://)|@ *(file:|[\w+.-]+://|[./~])", re.IGNORECASE)
"""A path or URL, in place of a name or after it."""
_WHEEL = re.compile(r"\.whl($|[\s;#])")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Requirement lines, separated from the options among them."""

    packages: tuple[str, ...]
    options: tuple[str, ...]
    """Options such as `--index-url ...`. They are needed to resolve and install, but do not determine what is
    installed. They may contain credentials, so they are kept out of locks, command lines and messages."""
    built: tuple[Path, ...] = ()
    """Wheels that were built here from source."""

    @classmethod
    def of(cls, lines: Sequence[str]) -> Wanted:
        """Returns the requirements. Raises Unbuildable for a directory, a repository, or a source archive that no
        package index has."""
        for line in lines:
            if "${" in line:
                raise Unbuildable(
                    f"the requirement '{without_credentials(line)}' names a variable, and variables are not "
                    "replaced here.",
                    hint="Write out what the model needs and log it again.",
                )
            if re.match(r"(-e|--editable)\b", line) or (_PLACE.search(line) and not _WHEEL.search(line)):
                shown = without_credentials(line)
                raise Unbuildable(
                    f"the requirement '{shown}' is source code outside of a package index, which is never built here.",
                    hint="Log the code with the model (code_paths), or build a wheel and require that.",
                )
        options = tuple(line for line in lines if line.startswith("-"))
        return cls(tuple(line for line in lines if not line.startswith("-")), options)

    @property
    def names(self) -> frozenset[str]:
        """Returns names in the normal form of PEP 503."""
        found = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in self.packages)
        return frozenset(normalised(name[0]) for name in found if name)

    @property
    def sources(self) -> tuple[str, ...]:
        """Returns the options that say where packages come from. Constraints are left out, because a lock already obeys
        them."""
        return tuple(line for line in self.options if not re.match(r"(-c|--constraint)\b", line))

    def links(self, directory: Path) -> tuple[str, ...]:
        """Returns options with which uv finds the wheels that were built, and no others. Creates links in
        `directory`."""
        for wheel in self.built:
            (directory / wheel.name).symlink_to(wheel)
        return ("--no-build", *(("--find-links", str(directory)) if self.built else ()))

    def also(self, *packages: str) -> Wanted:
        """Returns the requirements with further packages."""
        return replace(self, packages=(*self.packages, *packages))


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock for one interpreter."""

    text: str
    """A requirements file with every package, pinned, with its hashes. It has no comments or options."""
    interpreter: Interpreter

    @property
    def digest(self) -> str:
        """The SHA-256 over the lock, the Python version and the platform, by which the environment is addressed."""
        parts = (self.text, self.interpreter.text, self.interpreter.platform)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages as `name==version` or `name @ URL`."""
        return tuple(re.sub(r"\s*(\\|;.*)?$", "", line) for line in self.text.splitlines() if line[:1].strip())

    @property
    def unhashed(self) -> tuple[str, ...]:
        """The packages without a hash: Git commits and local files."""
        entries = re.split(r"\n(?=\S)", self.text.strip())
        return tuple(re.split(r"[\s=@]", entry)[0] for entry in entries if "--hash=" not in entry)


class Locks:
    """Resolves, and stores results in `directory`, so that the same question never uses the network twice."""

    def __init__(self, uv: Uv, directory: Path) -> None:
        self._uv = uv
        self._directory = directory

    def resolve(self, wanted: Wanted, interpreter: Interpreter, as_of: date | None, say: Callable[[str], None]) -> Lock:
        """Returns the lock of `wanted` for `interpreter`, with nothing that was published after the day `as_of`.

        Raises Unbuildable (no solution) and Unavailable (the index does not answer).
        """
        kept = self._directory / f"{_question(wanted, interpreter, as_of)}.txt"
        if kept.exists():
            return Lock(kept.read_text(), interpreter)
        say(
            without_credentials(f"resolving {', '.join(wanted.packages)}"[:200]) + (f", as of {as_of}" if as_of else "")
        )
        # 0700, because the options may contain credentials.
        with tempfile.TemporaryDirectory(prefix="serinus-") as scratch:
            source, target = Path(scratch, "requirements.txt"), Path(scratch, "lock.txt")
            (links := Path(scratch, "built")).mkdir()
            source.write_text("\n".join((*wanted.options, *wanted.packages)) + "\n")
            self._uv.run(
                "pip", "compile", source, "--output-file", target, "--python", interpreter.path, "--generate-hashes",
                "--no-python-downloads", "--no-header", "--no-annotate", *dated(as_of), *wanted.links(links),
                small=True,
            )  # fmt: skip
            lock = Lock(_packages_alone(target.read_text()), interpreter)
        self._directory.mkdir(parents=True, exist_ok=True)
        files.write(kept, lock.text)
        return lock


def _packages_alone(text: str) -> str:
    """Returns the packages without comments and options."""
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not re.match(r"\s*#|-", line)) + "\n"


def normalised(name: str) -> str:
    """Returns the name of a package in the normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower().rstrip("-")


def dated(as_of: date | None) -> tuple[str, ...]:
    """Returns the date as options of uv."""
    return ("--exclude-newer", _end_of(as_of)) if as_of else ()


def _end_of(day: date) -> str:
    return datetime.combine(day + timedelta(days=1), time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _question(wanted: Wanted, interpreter: Interpreter, as_of: date | None) -> str:
    """Returns a digest of everything that the result depends on, except for later publications."""
    indexes = sorted((name, value) for name, value in os.environ.items() if re.match(r"UV_.*(INDEX|FIND_LINKS)", name))
    built = [str(wheel) for wheel in wanted.built]
    where = [interpreter.text, interpreter.platform]
    asked = [wanted.packages, wanted.options, built, *where, str(as_of), indexes]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
