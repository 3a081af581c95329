"""The supervisor's own process, from start to end."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from serinus.core.home import Home
from serinus.supervisor import state
from serinus.supervisor.keeper import Keeper, ProcessSpec
from serinus.supervisor.state import ProcessRecord

ROUND = 0.2


def supervise(home: Home, specs: Sequence[ProcessSpec]) -> int:
    """Keeps `specs` running until SIGTERM or SIGINT; the exit code. One a home."""
    lock = (home.run / "supervisor.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another supervisor keeps {home.path}", file=sys.stderr)
        return 1
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    me = os.getpid()
    record = ProcessRecord("supervisor", "running", me, state.start_ticks(me) or 0, time.time())
    state.write(home, record)
    keeper = Keeper(home, specs)
    while not stopping.wait(ROUND):
        keeper.round()
    keeper.stop()
    (home.run / "supervisor.json").unlink(missing_ok=True)
    return 0
