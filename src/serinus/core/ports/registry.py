"""Where versions of models are registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from serinus.core.release import Artifact, VersionRef


class Registry(Protocol):
    """Where versions are registered. Implementations: backends/mlflow."""

    def find(self, model: str, version_or_alias: str) -> VersionRef:
        """`7`, `@challenger` or `challenger`. NotFound names the versions or aliases that there are."""
        ...

    def newest(self, model: str) -> VersionRef:
        """The version that was registered last and is ready. NotFound names near models."""
        ...

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Every model -> alias -> version. One cheap call: it is polled."""
        ...

    def who_set(self, model: str, alias: str, version: str) -> str:
        """Owner of the token by which the alias was set to this version; empty where the registry does not know."""
        ...

    def set_alias(self, model: str, alias: str, version: str) -> None: ...

    def drop_alias(self, model: str, alias: str) -> None:
        """Nothing happens where there is none."""
        ...

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Sets these tags of the version and leaves its others. NotFound where there is no such version."""
        ...

    def fetch(self, ref: VersionRef) -> Artifact:
        """Has the version's files kept by digest; what they say, without loading anything.

        Raises Unbuildable: missing files, a Git LFS pointer in place of a file, no python_function flavour, no
        environment declared. A second call for the same version downloads nothing.
        """
        ...

    def run_file(self, ref: VersionRef, name: str) -> Path | None:
        """A file that was logged with the version's run or its model (`evaluation.parquet`), or None."""
        ...
