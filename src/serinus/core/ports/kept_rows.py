"""Rows in the store that a faster way answered wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from serinus.core.kept_rows import KeptRow


class KeptRows(Protocol):
    """The kept rows of each model. Implementations: backends/sql."""

    def kept_rows(self, model: str) -> Sequence[KeptRow]:
        """Returns the kept rows of the model, oldest first."""
        ...

    def models_with_kept_rows(self) -> Sequence[str]:
        """Returns the names of the models that have kept rows, sorted."""
        ...

    def keep_rows(self, model: str, rows: Sequence[KeptRow]) -> None:
        """Stores rows of the model beside those that it has, by `core.kept_rows.together`, in one transaction."""
        ...

    def forget_rows(self, model: str, before: datetime) -> None:
        """Removes the rows of the model that were found before `before`."""
        ...
