"""The directories in which interpreters may be. Those that cannot be read are skipped and recorded."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from serinus.backends.uv.asking import PassedOver, within

_ON_THE_PATH = re.compile(r"python3(\.\d+)?")


def candidates(named: Sequence[Path], passed_over: PassedOver) -> Iterator[Path]:
    """Yields paths of possible interpreters, the preferred first: those in `named`, pyenv's, uv's own, those on the
    PATH, and the running one."""
    yield from named
    for root in dict.fromkeys(filter(None, (os.environ.get("PYENV_ROOT"), _at_home(".pyenv")))):
        # pyenv's shims are skipped, because they fail for versions that are not selected.
        yield from _installations(Path(root) / "versions", "", "bin/python", passed_over)
    if uvs := _uv_directory():
        yield from _installations(uvs, "cpython-", "bin/python3", passed_over)
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        if directory and not directory.endswith("/shims"):
            names = filter(_ON_THE_PATH.fullmatch, _listed(Path(directory), passed_over))
            yield from (Path(directory, name) for name in sorted(names))
    yield Path(sys.executable)


def _installations(directory: Path, prefix: str, program: str, passed_over: PassedOver) -> Iterator[Path]:
    """Yields interpreters of a directory with one installation in each entry, the newest first."""
    for name in sorted(_listed(directory, passed_over), reverse=True):
        if name.startswith(prefix):
            yield directory / name / program


def _listed(directory: Path, passed_over: PassedOver) -> Sequence[str]:
    """Returns the names in `directory`. Empty: it does not exist or cannot be read."""
    if passed_over.recently(directory):
        return ()
    try:
        return within(lambda: [entry.name for entry in directory.iterdir()])
    except FileNotFoundError:
        return ()  # A PATH often contains such entries.
    except OSError as error:
        passed_over.add(directory, error)
        return ()


def _at_home(*parts: str) -> str | None:
    try:
        return str(Path.home().joinpath(*parts))
    except RuntimeError:  # The user has no home directory.
        return None


def _uv_directory() -> Path | None:
    data = os.environ.get("XDG_DATA_HOME") or _at_home(".local", "share")
    directory = os.environ.get("UV_PYTHON_INSTALL_DIR") or (data and f"{data}/uv/python")
    return Path(directory) if directory else None
