"""The model host: `python -m serinus.targets.local.host --home H`.

SIGTERM stops it and its workers. When it is killed, its workers continue to answer, and the next host adopts them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvicorn

from serinus.core.home import Home
from serinus.core.text import configure_logging
from serinus.disturbances import Journal
from serinus.lib import locks, servers
from serinus.lib.servers import checking_peers, limited
from serinus.targets.local.host import cgroups, launch
from serinus.targets.local.host.control import control
from serinus.targets.local.host.holder import many_descriptors
from serinus.targets.local.host.host import Host
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.listener import Listener
from serinus.targets.local.host.sockets import Sockets
from serinus.targets.local.host.state_files import StateFiles
from serinus.targets.local.host.wires import Wires
from serinus.targets.local.host.worker import Launcher

_CALLERS = servers.Limits(places=64)
"""The number of connections to the control socket. The control plane sends a few requests at a time, each on a
connection of its own."""

_LIMITS: tuple[tuple[str, str, type, str, str], ...] = (
    ("--load-limit", "load", float, "SECONDS", "a worker that takes longer to get ready is killed"),
    ("--grace", "grace", float, "SECONDS", "a worker that has been told to stop is killed after this long"),
    ("--idle", "idle", float, "SECONDS", "a release that nobody has asked for this long may be scaled to zero"),
    ("--young", "young", float, "SECONDS", "a release that was just placed, or activated early, stays up this long"),
    ("--settled", "settled", float, "SECONDS", "a worker with libraries of its own is then replaced by a forked one"),
    ("--busiest", "busiest", int, "N", "so many releases are never scaled to zero for want of requests"),
    ("--succeeding", "succeeding", int, "N", "so many workers of an earlier host are replaced at a time"),
    ("--memory", "memory_bytes", int, "BYTES", "beyond this the least recently used releases are scaled to zero"),
    ("--look", "look", float, "SECONDS", "between two looks at what models have written to disk"),
    ("--scratch", "scratch_bytes", int, "BYTES", "a worker that has more in its scratch directory is ended"),
    ("--scratch-files", "scratch_files", int, "N", "a worker that has more files in its scratch directory is ended"),
    ("--log", "log_bytes", int, "BYTES", "a log that is larger begins anew; its last part is kept aside"),
    ("--survey", "survey", float, "SECONDS", "between two looks at what the workers do and use"),
)


def main() -> None:
    """Runs the host."""
    options = _options()
    home = Home(options.home.resolve())
    configure_logging()
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    many_descriptors()
    with locks.held(home.host / "lock", seconds=0) as lock:
        if lock is None:
            sys.exit(f"A host runs on {home.path} already (pid {(home.host / 'lock').read_text().strip()}).")
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        serve(home, options.runtime, _limits(options))


def serve(home: Home, runtime: Path, limits: Limits) -> None:
    """Serves until SIGTERM or SIGINT."""
    secret = home.secret.read_text().strip()
    sockets = Sockets(home.holder_socket, secret)
    wires = Wires(home, secret, sockets)
    groups, confined, staged = cgroups.claim(), launch.confined(home), launch.stage(home, runtime)
    journal = Journal(home.disturbances, "host")
    launcher = Launcher(home, StateFiles(home), staged, confined, sockets, wires, groups, limits.cores, journal)
    app = control(Host(launcher, limits), secret)
    listener = Listener(home.host_socket)
    listener.publish()
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    server = uvicorn.Server(checking_peers(limited(config, _CALLERS)))
    server.run(sockets=[listener.socket])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m serinus.targets.local.host", description="Runs releases as processes."
    )
    parser.add_argument("--home", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="DIR",
        default=launch.runtime_source(),
        help="the directory that holds serinus_runtime (default: where it is installed)",
    )
    for option, name, kind, unit, meaning in _LIMITS:
        parser.add_argument(
            option,
            dest=name,
            type=kind,
            metavar=unit,
            default=getattr(Limits(), name),
            help=f"{meaning} (default: %(default)g)",
        )
    return parser.parse_args()


def _limits(options: argparse.Namespace) -> Limits:
    return Limits(**{name: getattr(options, name) for _, name, *_ in _LIMITS})


if __name__ == "__main__":
    main()
