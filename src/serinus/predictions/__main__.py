"""`python -m serinus.predictions --home H` runs the collector."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.predictions.collector import Settings
from serinus.predictions.process import collect


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 after SIGTERM or SIGINT, with everything durable, 1 where another collector has the
    home, or the table must be asked first and does not answer."""
    parser = argparse.ArgumentParser(prog="python -m serinus.predictions", description="The prediction log.")
    parser.add_argument("--home", type=Path, required=True, help="the installation's directory")
    parser.add_argument("--table", metavar="URI", help="a directory or s3://bucket/prefix; default: in the home")
    parser.add_argument("--database", metavar="URL", help="of PostgreSQL, for the counts; default: in the home")
    parser.add_argument("--envoy-admin", help="host:port, URL or Unix socket path of Envoy's admin interface")
    parser.add_argument("--roll-seconds", type=float, default=Settings().roll_seconds, help="age of a segment")
    given = parser.parse_args(arguments)
    try:
        settings = Settings(
            envoy_admin=given.envoy_admin,
            table=given.table,
            database=given.database,
            roll_seconds=given.roll_seconds,
        )
        collect(Home(given.home.resolve()), settings)
    except SerinusError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
