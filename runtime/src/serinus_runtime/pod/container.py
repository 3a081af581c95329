"""The first process of a container, whatever the container is for: its privacy, and how it says why it ends."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import NoReturn

from serinus_runtime.pod.output import Output

_LONGEST_MESSAGE = 4096
"""The number of bytes of a termination message that Kubernetes keeps."""
_PR_SET_DUMPABLE = 4


def be_private() -> None:
    """Keeps other processes of the same user from reading this one, and disables core dumps."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end(output: Output, log: Path, status: int, text: str) -> NoReturn:
    """Ends this process with the exit status. `text` is the last line of its output, and the termination message."""
    output.say(text)
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)  # never made here
    except OSError:
        sys.exit(status)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode()[:_LONGEST_MESSAGE])
    sys.exit(status)
