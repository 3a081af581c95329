"""The only place that knows which target it is: makes the backends and hands them on."""

from serinus.wiring.local import build_local
from serinus.wiring.processes import processes_of

__all__ = ["build_local", "processes_of"]
