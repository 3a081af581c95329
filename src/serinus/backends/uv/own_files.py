"""The files that make a directory an environment. They are Serinus' own, whatever files the packages contain.

A wheel may write files anywhere in an environment (`.data/data/`). Nothing unconfined reads or runs them: the
interpreter that is started is that of the installation. Within the confinement, these files are restored as well.
"""

from __future__ import annotations

import csv
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from serinus.backends.uv.interpreters import Interpreter
from serinus.core.errors import Unbuildable
from serinus.core.home import ENVIRONMENT_FACTS

_OWN = ("pyvenv.cfg", ENVIRONMENT_FACTS, "requirements.lock", "accelerators", "lib64")
_NOT_KEPT = ("activate", "deactivate", "pydoc", "python")
"""The beginnings of names in `bin/` that are removed: uv's scripts and interpreters."""
_LARGEST_RECORD = 16 << 20


def made(environment: Path) -> Mapping[str, object]:
    """Returns the own files of an environment before anything is installed."""
    return {name: _seen(environment / name) for name in (*_OWN, "bin/python", "bin/python3")}


def check(environment: Path, before: Mapping[str, object]) -> None:
    """Raises Unbuildable where a package has replaced one of them."""
    for name, seen in before.items():
        if _seen(environment / name) != seen:
            raise Unbuildable(
                f"{_bringer(environment, name)} brings a file of the environment itself: {name}",
                hint="No package needs to do that. Find out who published it.",
            )


def write(environment: Path, interpreter: Interpreter) -> None:
    """Writes them again, with links to the base interpreter and no others."""
    for name in _OWN:
        _remove(environment / name)
    binaries = environment / "bin"
    if binaries.is_symlink() or not binaries.is_dir():
        _remove(binaries)
        binaries.mkdir()
    for entry in list(os.scandir(binaries)):
        if entry.name.startswith(_NOT_KEPT) or not entry.is_file(follow_symlinks=False):
            _remove(Path(entry.path))
    (binaries / "python").symlink_to(interpreter.path)
    for name in ("python3", f"python{interpreter.version[0]}.{interpreter.version[1]}"):
        (binaries / name).symlink_to("python")
    (environment / "lib64").symlink_to("lib")
    (environment / "pyvenv.cfg").write_text(
        f"home = {interpreter.path.parent}\n"
        "include-system-site-packages = false\n"
        f"version = {interpreter.text}\n"
        f"executable = {interpreter.path}\n"
    )


def protect(environment: Path) -> None:
    """Removes write permissions from the files, and links that packages contain. Directories stay writable, so that the
    owner of the home can remove them."""
    own = {environment / "lib64", *(environment / "bin").iterdir()}
    for directory, names, files in os.walk(environment):
        for name in (*names, *files):
            path = Path(directory, name)
            seen = path.lstat()
            if stat.S_ISLNK(seen.st_mode):
                if path not in own:
                    path.unlink()
            elif stat.S_ISREG(seen.st_mode) and seen.st_mode & 0o222:
                path.chmod(stat.S_IMODE(seen.st_mode) & ~0o222)


def _seen(path: Path) -> object:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _bringer(environment: Path, name: str) -> str:
    """Returns the package whose list of files contains it."""
    for record in sorted(environment.glob("lib/python*/site-packages/*.dist-info/RECORD")):
        packages = record.parent.parent
        with record.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.reader(file.read(_LARGEST_RECORD).splitlines()):
                if row and os.path.normpath(packages / row[0]) == str(environment / name):
                    return record.parent.name.removesuffix(".dist-info").replace("-", "==", 1)
    return "a package"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
