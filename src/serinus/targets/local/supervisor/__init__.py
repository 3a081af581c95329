"""Keeps the processes of one machine running: `serinus up` and `serinus down`.

    supervisor ─┬─ mlflow, envoy, host, collector, control
                └─ run/<name>.json says what each is and does

Level-triggered like everything else: every round it compares what should run with what runs, by pid *and* start time,
so a supervisor that died is replaced by one that adopts what still runs. Children outlive it on purpose: serving does
not depend on it.

    kernel         what runs, as /proc has it           process_manager  starts, restarts, stops: a round at a time
    state          the records in run/                  process     the supervisor's own process
    settings       what was chosen at `up`; ports       lifecycle   `up` and `down`; checks: does it answer
    directories    the home on disk and its locks       logs        one a process, kept small
    foreground     `up` that stays                          notify, unit: for the init system
    extras         what is not installed
    tls            what is kept of certificates         certificates  reads the operator's files
"""

from serinus.targets.local.supervisor.lifecycle import Addresses, down, edge_warnings, up
from serinus.targets.local.supervisor.settings import Options
from serinus.targets.local.supervisor.state import processes

__all__ = ["Addresses", "Options", "down", "edge_warnings", "processes", "up"]
