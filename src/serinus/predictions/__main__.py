"""`python -m serinus.predictions --home H` runs the collector."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.core.text import configure_logging
from serinus.lib import locks
from serinus.predictions.collector import Collector, Settings
from serinus.predictions.paths import lock_path

_LOCK_SECONDS = 15.0


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 after SIGTERM or SIGINT, with everything durable, 1 where another collector has the
    home, or the table must be asked first and does not answer."""
    parser = argparse.ArgumentParser(prog="python -m serinus.predictions", description="The prediction log.")
    parser.add_argument("--home", type=Path, required=True, help="the installation's directory")
    parser.add_argument("--table", metavar="URI", help="a directory or s3://bucket/prefix; default: in the home")
    parser.add_argument("--envoy-admin", help="host:port, URL or Unix socket path of Envoy's admin interface")
    parser.add_argument("--roll-seconds", type=float, default=Settings().roll_seconds, help="age of a segment")
    given = parser.parse_args(arguments)
    configure_logging()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.umask(0o077)
    home = Home(given.home.resolve())
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The lock is held while this process or its roll-up lives.
    lock = locks.take(lock_path(home), seconds=_LOCK_SECONDS)
    if lock is None:
        print(f"Another collector is running on {home.path}. Stop it first.", file=sys.stderr)
        return 1
    _calm_collector_of_garbage()
    sys.setswitchinterval(0.001)  # The event loop gets its turn soon, even while records are being counted.
    settings = Settings(envoy_admin=given.envoy_admin, table=given.table, roll_seconds=given.roll_seconds)
    try:
        asyncio.run(_serve(home, settings, lock))
    except SerinusError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _serve(home: Home, settings: Settings, lock: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Collector(home, settings, lock).run(stop)


def _calm_collector_of_garbage() -> None:
    """Makes garbage collections rare. Parsing creates millions of objects and no cycles, and a collection for every 700
    of them would double its time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


if __name__ == "__main__":
    sys.exit(main())
