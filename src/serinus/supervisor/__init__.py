"""Keeps the processes of one machine running: `serinus up` and `serinus down`.

    supervisor ─┬─ mlflow, envoy, host, collector, control
                └─ run/<name>.json says what each is and does

Level-triggered like everything else: every round it compares what should run with what runs, by pid *and* start time,
so a supervisor that died is replaced by one that adopts what still runs. Children outlive it on purpose: serving does
not depend on it.
"""

from serinus.supervisor.lifecycle import Addresses, Options, down, up
from serinus.supervisor.state import processes

__all__ = ["Addresses", "Options", "down", "processes", "up"]
