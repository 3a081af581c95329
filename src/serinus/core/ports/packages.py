"""The installation of an environment's packages for a platform that may differ from this machine's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a lock."""

    name: str
    """Normalised as in PEP 503."""
    version: str
    """Empty if the package is required by an address."""


@dataclass(frozen=True, slots=True)
class LockedEnvironment:
    """The packages and the Python version that an environment was locked to."""

    digest: str
    python_version: str
    """`3.11.7`"""
    interpreter: Path
    """The interpreter on this machine, outside of the environment."""
    packages: tuple[LockedPackage, ...]


class Packages(Protocol):
    """Installs the packages of built environments. Implementations: backends/uv."""

    @property
    def accelerators(self) -> str:
        """The digest of the lock of the packages that make workers faster and do not belong to a model."""
        ...

    def locked(self, environment: str) -> LockedEnvironment:
        """Returns the lock of the environment with this digest. Raises Unavailable if the environment is not on this
        machine."""
        ...

    def install(self, environment: str, platform: str, target: Path, say: Callable[[str], None]) -> None:
        """Installs the packages of the environment's lock for `platform` (`linux/amd64`, `linux/arm64`) into the empty
        directory `target`, with their bytecode. The files are the same on every machine. Only wheels are used, and
        no code of them is run.

        Raises Unbuildable, with the package's name, where there is no wheel for the platform. Raises Unavailable and
        OSError.
        """
        ...

    def install_accelerators(
        self, python_version: str, platform: str, target: Path, say: Callable[[str], None]
    ) -> bool:
        """Installs the packages that make workers faster in the same way. Returns False if there are none for this
        Python and platform. Raises Unavailable and OSError."""
        ...
