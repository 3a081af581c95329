"""Content of a home under its digest, as a test has made it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from serinus.core.home import Home

HERE = "e" * 64
"""Digest of the environment that runs the tests."""


def environment(home: Home, root: Path = Path(sys.prefix), digest: str = HERE) -> str:
    """The environment that lies at `root` becomes one of the home; its digest."""
    home.environments.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = home.environments / digest
    if not place.is_symlink():
        place.symlink_to(root)
    return digest


def artifact(home: Home, path: Path, digest: str = "a" * 64) -> str:
    """A saved model becomes an artifact of the home; its digest."""
    shutil.copytree(path, home.artifact(digest), dirs_exist_ok=True)
    return digest
