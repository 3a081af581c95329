"""The clock."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """A clock, which tests replace by one of their own."""

    def now(self) -> datetime:
        """Returns the present time as an aware datetime in UTC."""
        ...
