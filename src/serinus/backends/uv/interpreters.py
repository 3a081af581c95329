"""The Python interpreters on this machine, and the choice of one for a model."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serinus.backends.uv.asking import Answers, PassedOver
from serinus.backends.uv.command import Uv
from serinus.backends.uv.places import candidates
from serinus.core.errors import SerinusError, Unbuildable

OLDEST = (3, 8)
"""The oldest version that the runtime supports."""

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter."""

    path: Path
    """The path of the installation itself, never of a virtual environment or a shim."""
    version: Version
    platform: str
    """Such as `linux-x86_64-glibc`."""

    @property
    def text(self) -> str:
        """The version as text."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True)
class Choice:
    """The interpreter for a model."""

    interpreter: Interpreter
    note: str = ""
    """How it differs from what was requested. Empty: it does not."""


class Interpreters:
    """Finds interpreters: those that a setting names, pyenv's, uv's own, those on the PATH, and the running one.

    `memory` is a file with their answers, so that each is asked once. Those that cannot be read, are broken, loop or do
    not answer are skipped, and named where there is no interpreter for a model.
    """

    def __init__(self, uv: Uv, memory: Path, named: Sequence[Path] = ()) -> None:
        self._uv = uv
        self._named = tuple(named)
        self._passed_over = PassedOver()
        self._answers = Answers(memory, self._passed_over)

    def choose(self, wanted: str | None, say: Callable[[str], None]) -> Choice:
        """Returns the exact patch version, or else the newest of the same minor version, or else one that uv downloads.

        Raises Unbuildable where there is none, with those that exist and what to do.
        """
        version = _parsed(wanted)
        if version is None:
            running = self._known(Path(sys.executable))
            if running is None:
                raise Unbuildable(
                    "the artifact does not say which Python it needs, and the running Python is not a release."
                )
            return Choice(running, f"the artifact does not say which Python it needs: {running.text} is used")
        text = ".".join(map(str, version))
        if version < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise Unbuildable(f"the model needs Python {text}, and the oldest that can be served is {oldest}.",
                              hint="Log it again under a newer Python.")  # fmt: skip
        if choice := _best(version, self.found()):
            return choice
        say(f"Python {text} is not on this machine and is being fetched")
        try:
            self._uv.run("python", "install", "--no-bin", ".".join(map(str, version[:2])))
        except SerinusError as error:
            raise self._missing(text, error) from error
        if choice := _best(version, self.found()):
            return choice
        raise self._missing(text, None)

    def found(self) -> Iterator[Interpreter]:
        """Yields every usable interpreter, the preferred first, each installation once. Only as many are asked as are
        consumed."""
        seen: set[str] = set()
        for path in candidates(self._named, self._passed_over):
            one = self._known(path)
            if one and (real := os.path.realpath(one.path)) not in seen:
                seen.add(real)
                yield one

    def _known(self, path: Path) -> Interpreter | None:
        """Returns the interpreter by its own answer. None: it cannot be used."""
        answer = self._answers.of(path)
        if answer is None or not answer["usable"]:
            return None
        return Interpreter(Path(answer["path"]), tuple(answer["version"]), answer["platform"])

    def _missing(self, text: str, error: SerinusError | None) -> Unbuildable:
        here = ", ".join(sorted({one.text for one in self.found() if one.version >= OLDEST}, key=_parsed_key))
        why = f" and could not be fetched ({error.message.rstrip('.')})" if error else ""
        return Unbuildable(
            f"Python {text} is not on this machine{why}. On this machine: {here}.{self._passed_over.in_words()}",
            hint=f"Install it (pyenv install {text}, or a package of your system), or name its path in the settings.",
        )


def _parsed(wanted: str | None) -> Version | None:
    """Returns the numbers of `3.9.18`, `3.9` or `==3.9.*`. None: there is no minor version in it."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", wanted or "")
    return tuple(int(part) for part in found.groups() if part is not None) if found else None


def _parsed_key(text: str) -> Version:
    return _parsed(text) or ()


def _best(version: Version, found: Iterator[Interpreter]) -> Choice | None:
    same: list[Interpreter] = []
    for one in found:
        if one.version == version:
            return Choice(one)
        if one.version[:2] == version[:2]:
            same.append(one)
    if not same:
        return None
    newest = max(same, key=lambda one: one.version)
    if len(version) == 2:
        return Choice(newest)
    text = ".".join(map(str, version))
    return Choice(newest, f"Python {text} is not on this machine: {newest.text}, of the same minor version, is used")
