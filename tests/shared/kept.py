"""Content of a home under its digest, as a test has made it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from serinus.core.home import ENVIRONMENT_FACTS, Home

HERE = "e" * 64
"""Digest of the environment that runs the tests."""


def environment(home: Home, root: Path = Path(sys.prefix), digest: str = HERE) -> str:
    """The environment that lies at `root` becomes one of the home; its digest."""
    home.environments.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = home.environments / digest
    if not place.is_symlink():
        place.symlink_to(root)
    return digest


def small_environment(home: Home, root: Path, digest: str = "b" * 64) -> str:
    """The packages at `root`, as an image holds them, become an environment of the home on the interpreter of the
    tests; its digest."""
    place = home.environments / digest
    home.environments.mkdir(mode=0o700, parents=True, exist_ok=True)
    root.rename(place)
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (place / "bin").mkdir()
    (place / "bin" / "python").symlink_to(python)
    (place / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    (place / ENVIRONMENT_FACTS).write_text(json.dumps({"interpreter": str(python)}))
    return digest


def artifact(home: Home, path: Path, digest: str = "a" * 64) -> str:
    """A saved model becomes an artifact of the home; its digest."""
    shutil.copytree(path, home.artifact(digest), dirs_exist_ok=True)
    return digest
