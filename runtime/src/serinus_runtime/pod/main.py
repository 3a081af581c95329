"""The container's command: python3 -I -S -u -X faulthandler -c "... from serinus_runtime.pod.main import main; main()"

The exit status is 0 after SIGTERM, 1 if the release does not start, and 2 if its configuration is wrong. The reason is
the last line of the output, and the container's termination message.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

from serinus_runtime.pod.container import be_private, end
from serinus_runtime.pod.output import Output
from serinus_runtime.pod.processors import processors
from serinus_runtime.pod.release import InvalidRelease, Paths, Release, read
from serinus_runtime.pod.slots import Slot, bound
from serinus_runtime.pod.supervisor import Supervisor


def main() -> None:
    signal.signal(signal.SIGTERM, _nothing_to_drain)
    output = Output()
    be_private()
    try:
        release = read(os.environ)
    except InvalidRelease as error:
        end(output, Paths().termination_log, 2, str(error))
    for name in release.unknown:
        output.say(f"the field {name} is not known to this version, and is passed over")
    reason = _served(release, output)
    if reason:
        end(output, release.paths.termination_log, 1, f"{release.release} does not come up: {reason}")


def _served(release: Release, output: Output) -> str:
    """Serves until SIGTERM and returns an empty string, or returns the reason why it cannot serve."""
    try:
        first, health = Slot(release.http_port), bound(release.health_port)
        slots = [first, *(Slot(first.port) for _ in range(1, release.workers or processors()))]
        health.listen()
    except OSError as error:
        return f"its ports cannot be listened on: {error.strerror}"
    output.say(f"{release.release} is on port {first.port}, and its probes on port {health.getsockname()[1]}")
    try:
        return asyncio.run(Supervisor(release, slots, health, output).run())
    except Exception as error:  # noqa: BLE001  a fault of the supervisor's own is to be found in the pod's status as well
        traceback.print_exc()
        return f"the supervisor failed ({type(error).__name__})"


def _nothing_to_drain(*_: Any) -> NoReturn:
    """Handles SIGTERM before anything is served."""
    sys.exit(0)
