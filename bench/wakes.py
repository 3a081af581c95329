"""How long the first answer of a release that was scaled to zero takes on a machine that is more or less busy.

    python -m bench.wakes --home HOME --models URL --model MODEL --rounds 5

Serinus runs already, with `--idle 3s --busiest 0`, and serves MODEL. Each round waits until the release has no worker,
starts so many busy processes, and asks: at once, before the host has seen them, or after ten seconds. Prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from serinus.core.home import Home
from serinus.core.placement import PlacementState
from serinus.targets.local.host import HostTarget

_SPIN = "import os, sys\nos.nice({nice})\nprint(flush=True)\nwhile True: pass"
_PATIENCE = 900.0
_KEPT_OPEN = 17.0
"""Seconds after which Envoy has closed its connections to a worker, which answers on them until then."""


@contextlib.contextmanager
def busy(processes: int, nice: int) -> Iterator[None]:
    """So many processes that want a processor each."""
    command = [sys.executable, "-c", _SPIN.format(nice=nice)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    try:
        for one in started:
            if one.stdout is not None:
                one.stdout.readline()
        yield
    finally:
        for one in started:
            one.kill()
            one.communicate()


def scaled_to_zero(target: HostTarget, model: str) -> bool:
    return any(
        one.state is PlacementState.SCALED_TO_ZERO
        for name, one in target.observe().items()
        if name.startswith(f"{model}-")
    )


def until_scaled_to_zero(target: HostTarget, model: str) -> None:
    """And its last worker has gone."""
    began = since = time.monotonic()
    while time.monotonic() - since < _KEPT_OPEN:
        if not scaled_to_zero(target, model):
            since = time.monotonic()
        if since - began > _PATIENCE:
            raise SystemExit(f"{model} did not sleep within {_PATIENCE:g} s")
        time.sleep(0.2)


def asked(url: str, body: bytes) -> tuple[int, float]:
    """Status and milliseconds."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - of this machine
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            status = answer.status
            answer.read()
    except urllib.error.HTTPError as error:
        status = error.code
    return status, 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--body", default='{"dataframe_records": [{"a": 0.5}]}')
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    json.loads(options.body)
    target, url = HostTarget(Home(options.home)), f"{options.models}/models/{options.model}/invocations"
    print("| busy processes | asked | slept until then | answered | median | slowest |\n|---|---|---|---|---|---|")
    for processes, nice, seconds in ((0, 0, 0), (8, 10, 0), (8, 0, 0), (8, 0, 10)):
        found, slept = [], 0
        for _ in range(options.rounds):
            until_scaled_to_zero(target, options.model)
            with busy(processes, nice):
                time.sleep(seconds)
                slept += scaled_to_zero(target, options.model)
                found.append(asked(url, options.body.encode()))
        took = [milliseconds for _, milliseconds in found]
        fine = sum(status == 200 for status, _ in found)
        cells = [
            f"{processes} at nice {nice}" if nice else str(processes),
            f"after {seconds} s" if seconds else "at once",
            f"{slept} of {len(found)}",
            f"{fine} of {len(found)}",
            f"{statistics.median(took):.0f} ms",
            f"{max(took):.0f} ms",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
