"""Notifications to the init system, by the protocol of sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends notifications. `address` is a Unix datagram socket, where `@` marks an abstract one. Empty: there is no
    recipient."""

    address: str = ""
    watchdog: float = 0.0
    """Seconds within which the init system expects a notification. 0: it does not."""

    @classmethod
    def taken(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Takes the variables of the init system out of the environment, so that children do not inherit them."""
        watchdog = _watchdog(environment)
        address = environment.pop(_SOCKET, "")
        for name in (_WATCHDOG, _WATCHDOG_PID):
            environment.pop(name, None)
        return cls(address if address.startswith(("/", "@")) else "", watchdog)

    def environment(self) -> Mapping[str, str]:
        """Returns these variables again, for a program that this process executes."""
        found = {_SOCKET: self.address} if self.address else {}
        return found | ({_WATCHDOG: str(round(self.watchdog * 1e6))} if self.watchdog else {})

    def say(self, **state: str | int) -> None:
        """Sends `READY=1`, `STATUS="..."` and others. Never fails, because serving does not depend on the recipient."""
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
        return 0.0  # The variables are meant for another process.
    try:
        return int(environment.get(_WATCHDOG, "0")) / 1e6
    except ValueError:
        return 0.0
