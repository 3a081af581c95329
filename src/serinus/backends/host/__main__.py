"""The model host: `python -m serinus.backends.host --home H`.

SIGTERM stops it and its workers. When it is killed its workers go on answering, and the next host takes over.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import sys
from pathlib import Path

import uvicorn

from serinus.backends.host import launch
from serinus.backends.host.control import control
from serinus.backends.host.host import Host
from serinus.backends.host.keeper import Limits
from serinus.backends.host.listener import Listener
from serinus.backends.host.records import Records
from serinus.backends.host.worker import Launcher
from serinus.core.home import Home


def main() -> None:
    options = _options()
    home = Home(options.home.resolve())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(home.host / "lock")
    if lock is None:
        sys.exit(f"A host runs on {home.path} already (pid {(home.host / 'lock').read_text().strip()}).")
    with os.fdopen(lock):
        serve(home, options.runtime, Limits(load=options.load_limit, grace=options.grace))


def serve(home: Home, runtime: Path, limits: Limits) -> None:
    """Until SIGTERM or SIGINT."""
    launcher = Launcher(home, Records(home), launch.stage(home, runtime), launch.confined(home))
    app = control(Host(launcher, limits), home.secret.read_text().strip())
    listener = Listener(home.host_socket)
    listener.publish()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    server.run(sockets=[listener.socket])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serinus.backends.host", description="Runs releases as processes.")
    parser.add_argument("--home", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="DIR",
        default=launch.runtime_source(),
        help="the directory that holds serinus_runtime (default: where it is installed)",
    )
    parser.add_argument(
        "--load-limit",
        type=float,
        metavar="SECONDS",
        default=Limits().load,
        help="a worker that takes longer to get ready is killed (default: %(default)g)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        default=Limits().grace,
        help="a worker that has been told to stop is killed after this long (default: %(default)g)",
    )
    return parser.parse_args()


def _lock(path: Path) -> int | None:
    """Held until the process ends; None where another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


if __name__ == "__main__":
    main()
