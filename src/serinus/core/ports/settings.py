"""Settings in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Settings(Protocol):
    """Small values by key. Implementations: backends/sql."""

    def setting(self, key: str) -> str | None:
        """The value of a setting; None where it was never set."""
        ...

    def settings(self, prefix: str) -> Mapping[str, str]:
        """The settings whose key begins with `prefix`, by key."""
        ...

    def set_setting(self, key: str, value: str) -> None: ...
