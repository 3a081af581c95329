"""What tests do until something holds that another process or thread brings about."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
_PORTS = range(10_000, 30_000)
"""Below those of net.ipv4.ip_local_port_range, and of Kubernetes' NodePorts."""
_any = random.SystemRandom()  # Tests that are seeded alike run at the same time.
_given: set[int] = set()


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
    """On which nobody listens. A process gets each port once.

    The kernel gives none of these to a connection or a socket without a port, so nobody has it until it is used.
    """
    while True:
        port = _any.choice(_PORTS)
        if port in _given:
            continue
        with suppress(OSError), socket.socket() as listening:
            listening.bind(("127.0.0.1", port))
            _given.add(port)
            return port
