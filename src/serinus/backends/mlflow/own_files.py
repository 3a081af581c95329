"""Restricts the bundled MLflow server to its own directory.

MLflow accepts any location for the artifacts of an experiment from whoever creates it, and would read and write there
with the rights of this user.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from serinus_runtime.isolation import landlock

_PR_SET_NO_NEW_PRIVS = 38
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd",
    "/etc/group", "/etc/mime.types", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/self", "/dev/urandom",
)  # fmt: skip
_SCHEMES = ("", "file", "mlflow-artifacts", "models", "runs")


def keep_artifacts_in(artifacts: Path) -> None:
    """Has MLflow refuse artifacts outside of `artifacts` and stores of other kinds. Imports MLflow."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact import artifact_repository_registry as mlflows
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    own = artifacts.resolve()

    def local(artifact_uri: str, **options: Any) -> LocalArtifactRepository:
        repository = LocalArtifactRepository(artifact_uri, **options)
        if not Path(repository.artifact_dir).resolve().is_relative_to(own):
            raise MlflowException.invalid_parameter_value(
                "This MLflow server keeps artifacts in its own store: use an experiment without an artifact location."
            )
        return repository

    registered: Any = mlflows.get_registered_artifact_repositories()
    for scheme in [scheme for scheme in registered if scheme not in _SCHEMES]:
        del registered[scheme]
    registered.update({"": local, "file": local})


def confine_to(directory: Path) -> None:
    """Confines this thread, and everything that it starts, as far as the kernel can.

    They may read libraries, write below `directory`, and open no TCP connections. Listening sockets remain usable.
    Raises OSError.
    """
    temporary = directory / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    if landlock.abi() < 1:
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    libraries = {Path(path) for path in (sys.prefix, sys.base_prefix, *sys.path) if path}
    readable = [(path, landlock.READ) for path in (*libraries, *map(Path, _SYSTEM))]
    landlock.restrict([*readable, (Path("/dev/null"), landlock.DEVICE), (directory, landlock.WRITE)])
