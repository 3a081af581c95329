"""The prediction log of one machine: segments, a Delta table, running counts and outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serinus.predictions.log import DeltaPredictionLog

__all__ = ["DeltaPredictionLog"]


def __getattr__(name: str) -> Any:
    """Imports on first use. The collector, which is in this package too, starts in half the time without polars."""
    if name != "DeltaPredictionLog":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serinus.predictions.log import DeltaPredictionLog

    return DeltaPredictionLog
