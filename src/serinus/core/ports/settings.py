"""The settings in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Settings(Protocol):
    """Small values by key. Implementations: backends/sql."""

    def setting(self, key: str) -> str | None:
        """Returns the value of a setting. None: it was never set."""
        ...

    def settings(self, prefix: str) -> Mapping[str, str]:
        """Returns the settings whose key begins with `prefix`, by key."""
        ...

    def set_setting(self, key: str, value: str) -> None:
        """Stores the value of a setting."""
