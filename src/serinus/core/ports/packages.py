"""What installs an environment's packages for another platform than this machine's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a lock."""

    name: str
    """Normalised as PEP 503 says."""
    version: str
    """Empty where it is required by an address."""


@dataclass(frozen=True, slots=True)
class LockedEnvironment:
    """What an environment was locked to."""

    digest: str
    python_version: str
    """`3.11.7`"""
    interpreter: Path
    """On this machine, outside of the environment."""
    packages: tuple[LockedPackage, ...]


class Packages(Protocol):
    """Installs the packages of built environments. Implementations: backends/uv."""

    @property
    def accelerators(self) -> str:
        """The digest of the lock of what makes workers quicker, beside the packages of a model."""
        ...

    def locked(self, environment: str) -> LockedEnvironment:
        """What the environment with this digest was locked to. Raises Unavailable: it is not on this machine."""
        ...

    def install(self, environment: str, platform: str, target: Path, say: Callable[[str], None]) -> None:
        """Puts the packages of the environment's lock into the empty directory `target`, as they are for `platform`
        (`linux/amd64`, `linux/arm64`): the same files whoever does it, and wherever, with their bytecode. Only wheels
        are taken, and nothing of them is run.

        Raises Unbuildable, with the package's name, where there is no wheel for the platform; Unavailable, OSError.
        """
        ...

    def install_accelerators(
        self, python_version: str, platform: str, target: Path, say: Callable[[str], None]
    ) -> bool:
        """The same for what makes workers quicker. False: there is none for this Python and platform. Raises
        Unavailable, OSError."""
        ...
