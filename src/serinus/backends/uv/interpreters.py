"""Which Python interpreters are on this machine, and the one that a model is to run on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serinus.backends.uv.command import Uv
from serinus.core.errors import SerinusError, Unbuildable

OLDEST = (3, 8)
"""That the runtime supports."""

_QUESTION = """
import json, platform, sys, sysconfig
print(json.dumps({
    "path": getattr(sys, "_base_executable", None) or sys.executable,
    "version": list(sys.version_info[:3]),
    "usable": sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final"
              and not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "platform": sysconfig.get_platform() + "-" + (platform.libc_ver()[0] or "libc"),
}))
"""

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Interpreter:
    path: Path
    """Of the installation itself, never of a virtual environment or a shim."""
    version: Version
    platform: str
    """`linux-x86_64-glibc`"""

    @property
    def text(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True)
class Choice:
    interpreter: Interpreter
    note: str = ""
    """Where it is not exactly what was asked for: what it is instead."""


class Interpreters:
    """Finds interpreters: those that a setting names, pyenv's, uv's own, those on the PATH, and the running one.

    `memory`: a file that keeps what interpreters answered, so that each is asked once.
    """

    def __init__(self, uv: Uv, memory: Path, named: Sequence[Path] = ()) -> None:
        self._uv = uv
        self._memory = memory
        self._named = tuple(named)
        self._answers = _remembered(memory)

    def choose(self, wanted: str | None, say: Callable[[str], None]) -> Choice:
        """The exact patch version, else the newest of the same minor version, else one that uv fetches.

        Raises Unbuildable: there is none, with what there is and what to do.
        """
        version = _parsed(wanted)
        if version is None:
            running = self._known(Path(sys.executable))
            if running is None:
                raise Unbuildable("the artifact does not say which Python it needs, and the running one is no release.")
            return Choice(running, f"the artifact does not say which Python it needs: {running.text} is used")
        text = ".".join(map(str, version))
        if version < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise Unbuildable(f"the model needs Python {text}, and the oldest that can be served is {oldest}.",
                              hint="Log it again under a newer Python.")  # fmt: skip
        if choice := _best(version, self.found()):
            return choice
        say(f"Python {text} is not on this machine: fetching it")
        try:
            self._uv.run("python", "install", "--no-bin", ".".join(map(str, version[:2])))
        except SerinusError as error:
            raise self._missing(text, error) from error
        if choice := _best(version, self.found()):
            return choice
        raise self._missing(text, None)

    def found(self) -> Iterator[Interpreter]:
        """Every usable interpreter, the preferred first; each installation once. Asks no more than is iterated."""
        seen: set[Path] = set()
        for path in self._candidates():
            one = self._known(path)
            if one and one.path.resolve() not in seen:
                seen.add(one.path.resolve())
                yield one

    def _known(self, path: Path) -> Interpreter | None:
        """What the interpreter says of itself; None: it is none that can be used."""
        key = _identity(path)
        if key is None:
            return None
        if key not in self._answers and (answer := _ask(path)):
            self._answers = {**_remembered(self._memory), **self._answers, key: answer}
            _remember(self._memory, self._answers)
        answer = self._answers.get(key) or _UNUSABLE
        if not answer["usable"]:
            return None
        return Interpreter(Path(answer["path"]), tuple(answer["version"]), answer["platform"])

    def _candidates(self) -> Iterator[Path]:
        yield from self._named
        for root in dict.fromkeys(filter(None, (os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")))):
            # Never pyenv's shims: they fail for a version that is not selected.
            yield from sorted(Path(root).glob("versions/*/bin/python"), reverse=True)
        yield from sorted(_uv_directory().glob("cpython-*/bin/python3"), reverse=True)
        for directory in os.environ.get("PATH", "").split(os.pathsep):
            if directory and not directory.endswith("/shims"):
                found = Path(directory).glob("python3*")
                yield from sorted(path for path in found if re.fullmatch(r"python3(\.\d+)?", path.name))
        yield Path(sys.executable)

    def _missing(self, text: str, error: SerinusError | None) -> Unbuildable:
        here = ", ".join(sorted({one.text for one in self.found() if one.version >= OLDEST}, key=_parsed_key))
        why = f" and could not be fetched ({error.message.rstrip('.')})" if error else ""
        return Unbuildable(
            f"Python {text} is not on this machine{why}. Here are: {here}.",
            hint=f"Install it (pyenv install {text}, or a package of your system), or name its path in the settings.",
        )


def _parsed(wanted: str | None) -> Version | None:
    """`3.9.18`, `3.9`, `==3.9.*` -> numbers; None where there is no minor version in it."""
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


def _uv_directory() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path(data) / "uv" / "python")


# --- asking an interpreter, once ---------------------------------------------------------------------------

Answer = dict[str, Any]
_UNUSABLE: Answer = {"usable": False}


def _identity(path: Path) -> str | None:
    """Changes when another interpreter is installed at the path; None: there is none."""
    try:
        seen = path.stat()
    except OSError:
        return None
    # The unresolved path: a virtual environment's link and its installation answer the same, a wrapper may not.
    return f"{path}:{seen.st_size}:{seen.st_mtime_ns}" if os.access(path, os.X_OK) else None


def _ask(path: Path) -> Answer | None:
    """None: it gave no answer in time, so it may give one later."""
    try:
        answer = subprocess.run([path, "-I", "-c", _QUESTION], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return dict(json.loads(answer.stdout)) if answer.returncode == 0 else _UNUSABLE


def _remembered(memory: Path) -> dict[str, Answer]:
    try:
        return dict(json.loads(memory.read_text()))
    except (OSError, ValueError):
        return {}  # nothing is lost: they are asked again


def _remember(memory: Path, answers: dict[str, Answer]) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    new = memory.with_name(f"{memory.name}.{os.getpid()}.new")
    new.write_text(json.dumps(answers, indent=1))
    new.replace(memory)
