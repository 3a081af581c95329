"""Settings in the store."""

from __future__ import annotations

from typing import Protocol


class Settings(Protocol):
    """Small values by key. Implementations: backends/sql."""

    def setting(self, key: str) -> str | None:
        """None where it was never set."""
        ...

    def set_setting(self, key: str, value: str) -> None: ...
