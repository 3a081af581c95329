"""The prediction log of one machine: segments, a Delta table, running counts, outcomes."""

from serinus.backends.delta.log import DeltaPredictionLog

__all__ = ["DeltaPredictionLog"]
