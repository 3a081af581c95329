"""The first and the last steps of a forked process."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import traceback
from typing import Callable, NoReturn


def end_with(work: Callable[[], int]) -> NoReturn:
    """Ends this process with the status that `work` returns or raises as SystemExit, or with 1 where it raises anything
    else. A forked process must never continue as the zygote."""
    status = 1
    try:
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def part_from_zygote() -> None:
    """Separates this process from its siblings, which would draw the same random numbers and use the same temporary
    directory."""
    signal.set_wakeup_fd(-1)
    tempfile.tempdir = None
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
