"""Tells the init system how far this process is: the protocol of sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


@dataclass(frozen=True, slots=True)
class Notifier:
    """`address`: a Unix datagram socket, where `@` stands for an abstract one; empty: nobody wants to know."""

    address: str = ""
    watchdog: float = 0.0
    """Seconds within which the init system wants to hear from this process; 0: it does not."""

    @classmethod
    def taken(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """What the init system has told this process, which its children are not to inherit."""
        watchdog = _watchdog(environment)
        address = environment.pop(_SOCKET, "")
        for name in (_WATCHDOG, _WATCHDOG_PID):
            environment.pop(name, None)
        return cls(address if address.startswith(("/", "@")) else "", watchdog)

    def environment(self) -> Mapping[str, str]:
        """What `taken` has found, for a program that this process becomes."""
        found = {_SOCKET: self.address} if self.address else {}
        return found | ({_WATCHDOG: str(round(self.watchdog * 1e6))} if self.watchdog else {})

    def say(self, **state: str | int) -> None:
        """`READY=1`, `STATUS="..."` and others; never fails, since serving does not depend on who listens."""
        if not self.address:
            return
        text = "\n".join(f"{name}={_one_line(str(value))}" for name, value in state.items())
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto(text.encode(), address)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _watchdog(environment: Mapping[str, str]) -> float:
    if environment.get(_WATCHDOG_PID, str(os.getpid())) != str(os.getpid()):
        return 0.0  # it is meant for another process
    try:
        return int(environment.get(_WATCHDOG, "0")) / 1e6
    except ValueError:
        return 0.0
