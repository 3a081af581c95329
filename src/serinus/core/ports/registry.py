"""The registry of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from serinus.core.release import Artifact, VersionRef


class Registry(Protocol):
    """The registry of versions and aliases. Implementations: backends/mlflow."""

    def find(self, model: str, version_or_alias: str) -> VersionRef:
        """Returns a version by its number or alias: `7`, `@challenger` or `challenger`.

        Raises NotFound, which names the versions or aliases that exist.
        """
        ...

    def newest(self, model: str) -> VersionRef:
        """Returns the version that was registered last and is ready. Raises NotFound, which names models with similar
        names."""
        ...

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Returns the versions of all aliases, by model and alias. One cheap call, because it is polled."""
        ...

    def who_set(self, model: str, alias: str, version: str) -> str:
        """Returns the owner of the token with which the alias was set to this version. Empty: unknown."""
        ...

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Sets the alias to the version."""

    def drop_alias(self, model: str, alias: str) -> None:
        """Deletes the alias. Does nothing where there is none."""
        ...

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Sets these tags of the version and leaves its others alone. Raises NotFound where there is no such
        version."""
        ...

    def fetch(self, ref: VersionRef) -> Artifact:
        """Downloads the files of the version, and returns what they declare. No code of the model is loaded.

        The files are kept by digest, and a second call downloads nothing. Raises Unbuildable where files are missing, a
        Git LFS pointer stands in place of a file, there is no python_function flavor or no environment is declared.
        """
        ...

    def run_file(self, ref: VersionRef, name: str) -> Path | None:
        """Returns a file that was logged with the version's run or model, such as `evaluation.parquet`. None: there is
        none."""
        ...
