"""The model host: releases as confined processes of this machine, each behind a Unix socket of its own.

    HostTarget, SocketScorer, Trials     used by the control plane: clients, and trials of a model
    python -m serinus.targets.local.host      the host itself, a process of its own (`__main__`)
    holder_command                       a small process beside it, which holds its sockets while there is no host

Within the host: `control` (HTTP) -> `host` (all releases) -> `release_controller` (one release) -> `workers` (its
processes) -> `worker` (one of them). `release_transitions` is the table of everything that can happen to a release, and
`release_starts` starts its workers. `zygotes` fork the workers of an environment. `surveyor` decides which releases are
scaled to zero (`scale_to_zero`) and which get more workers (`autoscaler`).
"""

from serinus.targets.local.host.launch import holder_command
from serinus.targets.local.host.scorer import SocketScorer
from serinus.targets.local.host.target import HostTarget
from serinus.targets.local.host.trials import Trials

__all__ = ["HostTarget", "SocketScorer", "Trials", "holder_command"]
