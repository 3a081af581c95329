"""`python -m clusterlab packages|build|built|up|down|status`: 0 done, 1 failed, missing or not up, 2 wrong usage."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from clusterlab import LabError, building, machine
from clusterlab.modules import OBJECT_STORE


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was begun is undone on the way out
    try:
        return _do(asked)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _do(asked: argparse.Namespace) -> int:
    if asked.what == "packages":
        for package in machine.missing_packages():
            print(package)
        return 0
    if asked.what == "build":
        building.build(_say, (OBJECT_STORE,) if asked.object_store else None)
        return 0
    if asked.what == "built":
        for name in (absent := building.missing()):
            print(f"not built: {name}")
        return 1 if absent else 0
    from clusterlab import lifecycle  # needs more than the standard library

    if asked.what == "up":
        lifecycle.up(asked.dir, asked.owner, _say)
        print(lifecycle.as_text(lifecycle.status()))
        return 0
    if asked.what == "down":
        lifecycle.down(_say)
        return 0
    told = lifecycle.status()
    print(lifecycle.as_json(told) if asked.json else lifecycle.as_text(told))
    return 0 if told["state"] == "up" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m clusterlab", description="A Kubernetes cluster on this machine.")
    verbs = parser.add_subparsers(dest="what", required=True)
    verbs.add_parser("packages", help="list the Debian packages that are needed and missing")
    build = verbs.add_parser("build", help="build the programs that are not built")
    build.add_argument("--object-store", action="store_true", help="of the S3 server for tests, and not of the lab")
    verbs.add_parser("built", help="whether all programs of the lab are built, and which are not")
    up = verbs.add_parser("up", help="start the lab and wait until it is ready; as root")
    up.add_argument("--dir", type=Path, help="the directory of its state; `down` removes it")
    up.add_argument(
        "--owner",
        default=os.environ.get("SUDO_USER"),
        help="who may read the kubeconfig, and so act as root on this machine (default: who ran sudo)",
    )
    verbs.add_parser("down", help="end the lab and remove what it left; as root")
    status = verbs.add_parser("status", help="whether it runs, and where it is reached")
    status.add_argument("--json", action="store_true")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
