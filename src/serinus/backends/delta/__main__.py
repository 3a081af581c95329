"""`python -m serinus.backends.delta --home H`: the collector."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from pathlib import Path

from serinus.backends.delta.collector import Collector, Settings
from serinus.backends.delta.paths import lock_path
from serinus.core.home import Home

_LOCK_SECONDS = 15.0


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after SIGTERM or SIGINT, with everything durable; 1: another collector has the home."""
    parser = argparse.ArgumentParser(prog="python -m serinus.backends.delta", description="The prediction log.")
    parser.add_argument("--home", type=Path, required=True, help="the installation's directory")
    parser.add_argument("--envoy-admin", help="host:port, URL or Unix socket path of Envoy's admin interface")
    parser.add_argument("--roll-seconds", type=float, default=Settings().roll_seconds, help="age of a segment")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.umask(0o077)
    home = Home(given.home.resolve())
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _alone(lock_path(home)):
        print(f"Another collector is running on {home.path}. Stop it first.", file=sys.stderr)
        return 1
    asyncio.run(_serve(home, Settings(envoy_admin=given.envoy_admin, roll_seconds=given.roll_seconds)))
    return 0


async def _serve(home: Home, settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Collector(home, settings).run(stop)


def _alone(path: Path) -> bool:
    """Takes the home's lock, for as long as this process lives; waits for one that is just stopping."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        else:
            return True


if __name__ == "__main__":
    sys.exit(main())
