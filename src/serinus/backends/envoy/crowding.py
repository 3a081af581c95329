"""Closing idle connections when callers use up the connections that Envoy accepts.

Envoy can shorten its timeouts by the pressure on a resource, but it does not count its own connections as one.
Therefore the share of connections in use is read from its statistics and written to a file that it watches.
"""

from __future__ import annotations

import contextlib
import threading

from serinus.backends.envoy import names
from serinus.backends.envoy.admin import Admin
from serinus.backends.envoy.names import Json, typed
from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.lib.files import update

EVERY = 0.5
"""Seconds between two readings."""
FIRST, LAST = 0.5, 0.8
"""The shares in use from which on timeouts shrink, and at which they are shortest."""
_STEPS = 20
"""The number of steps in which the share is written, because Envoy reads every change."""
_RESOURCE = "envoy.resource_monitors.injected_resource"
_SHORTEST = {
    "HTTP_DOWNSTREAM_CONNECTION_IDLE": "1s",
    "HTTP_DOWNSTREAM_STREAM_FLUSH": "5s",
    "TRANSPORT_SOCKET_CONNECT": "1s",
}
"""The shortest timeouts: of a connection without a request, of an answer that its caller does not read, and of a TLS
handshake."""


def monitor(home: Home) -> Json:
    """Returns an entry of the bootstrap's `overload_manager.resource_monitors`."""
    watched = typed(
        "extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig",
        filename=str(names.crowding_file(home)),
    )
    return {"name": _RESOURCE, "typed_config": watched}


def action() -> Json:
    """Returns an entry of the bootstrap's `overload_manager.actions`."""
    factors = [{"timer": timer, "min_timeout": shortest} for timer, shortest in _SHORTEST.items()]
    return {
        "name": "envoy.overload_actions.reduce_timeouts",
        "triggers": [{"name": _RESOURCE, "scaled": {"scaling_threshold": FIRST, "saturation_threshold": LAST}}],
        "typed_config": typed("config.overload.v3.ScaleTimersOverloadActionConfig", timer_scale_factors=factors),
    }


def put(home: Home, share: float) -> None:
    """Writes the share of connections in use, from 0 to 1. Raises OSError."""
    update(names.crowding_file(home), f"{min(1.0, round(share * _STEPS) / _STEPS):g}")


class Crowding:
    """Updates the share. `places` is the largest number of callers' connections."""

    def __init__(self, home: Home, admin: str, places: int) -> None:
        self._home = home
        self._admin = Admin(admin)
        self._places = places

    def run(self, stop: threading.Event) -> None:
        """Updates the share until `stop` is set. Nothing changes while Envoy does not answer or the disk is full."""
        while not stop.wait(EVERY):
            with contextlib.suppress(Unavailable, OSError):
                self.look()
        self._admin.close()

    def look(self) -> None:
        """Updates the share once. Raises Unavailable and OSError."""
        put(self._home, self._admin.connections() / self._places)
