"""What tests do until something holds that another process or thread brings about."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 60.0, what: str = "") -> T:
    """Its first true answer; an AssertionError that names `what` after `timeout` seconds.

    They are many, as a machine may be busy: who waits for what comes loses nothing.
    """
    end = time.monotonic() + timeout
    while not (answer := predicate()):
        assert time.monotonic() < end, f"{what or 'it'} did not happen within {timeout:g} s"
        time.sleep(0.01)
    return answer


def free_port() -> int:
    """On which nobody listens now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
