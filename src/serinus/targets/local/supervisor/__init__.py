"""The supervisor, which keeps the processes of one machine running: `serinus up` and `serinus down`.

    supervisor ─┬─ mlflow, envoy, host, collector, control
                └─ run/<name>.json says what each is and does

It is level-triggered. In every round it compares what should run with what runs, by process id *and* start time. A
supervisor that has died is replaced by one that adopts the running processes. They outlive it on purpose, because
serving does not depend on it.

    kernel         running processes, from /proc            process_manager  starts, restarts, stops, in rounds
    state          the records in run/                      process     the supervisor's own process
    settings       what was chosen at `up`, and ports       lifecycle   `up` and `down`; checks: does it answer
    directories    the home on disk and its locks           logs        one for each process, kept small
    foreground     `up` that does not return                notify, unit: for the init system
    extras         what is not installed
    tls            the stored certificates                  certificates  reads the operator's files
"""

from serinus.targets.local.supervisor.lifecycle import Addresses, down, edge_warnings, up
from serinus.targets.local.supervisor.settings import Options
from serinus.targets.local.supervisor.state import processes

__all__ = ["Addresses", "Options", "down", "edge_warnings", "processes", "up"]
