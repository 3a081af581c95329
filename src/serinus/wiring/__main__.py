"""`python -m serinus.wiring PROCESS --home DIR` runs the processes that use all backends."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.checks import local_checks
from serinus.targets.local.supervisor.process import supervise
from serinus.wiring.processes import processes_of


def main() -> int:
    """Runs the process that the arguments name, and returns its exit code."""
    parser = argparse.ArgumentParser(prog="serinus.wiring")
    parser.add_argument("process", choices=["supervisor", "control", "collector", "install", "rehearsal"])
    parser.add_argument("--home", type=Path, required=True)
    arguments = parser.parse_args()
    home = Home(arguments.home.absolute())
    os.umask(0o077)
    try:
        settings = chosen.load(home)
        if settings is None:
            raise SerinusError(f"{home.path} is not a Serinus home", hint="`serinus up` creates one.")
        if arguments.process == "control":
            # The supervisor does not need these modules, which take 60 MB.
            from serinus.wiring.control import run_control

            return run_control(home, settings)
        if arguments.process == "collector":
            from serinus.wiring.cluster import cluster_settings
            from serinus.wiring.collectors import run_collector

            places = settings.predictions, settings.predictions_database
            return run_collector(home, cluster_settings(settings), *places)
        if arguments.process == "install":
            from serinus.wiring.installing import run_install

            return run_install(home, settings)
        if arguments.process == "rehearsal":
            from serinus.wiring.rehearsal import rehearse

            return rehearse(home, settings)
        return supervise(home, processes_of(home, settings), local_checks(home, settings))
    except SerinusError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
