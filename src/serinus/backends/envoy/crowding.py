"""Connections that rest between two requests make room when callers' places run out.

Envoy can shorten its time limits by the pressure on a resource, but does not take its own number of connections for
one. So the share of places in use is read from its statistics, and written into a file that it watches.
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
"""Seconds between two looks."""
FIRST, LAST = 0.5, 0.8
"""Shares of the places: from the first on time limits shrink, at the last they are at their shortest."""
_STEPS = 20
"""The share is written in so many steps: every change is read by Envoy."""
_RESOURCE = "envoy.resource_monitors.injected_resource"
_SHORTEST = {
    "HTTP_DOWNSTREAM_CONNECTION_IDLE": "1s",
    "HTTP_DOWNSTREAM_STREAM_FLUSH": "5s",
    "TRANSPORT_SOCKET_CONNECT": "1s",
}
"""A connection without a request, an answer that its caller does not read, and a TLS handshake."""


def monitor(home: Home) -> Json:
    """An entry of the bootstrap's `overload_manager.resource_monitors`."""
    watched = typed(
        "extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig",
        filename=str(names.crowding_file(home)),
    )
    return {"name": _RESOURCE, "typed_config": watched}


def action() -> Json:
    """An entry of the bootstrap's `overload_manager.actions`."""
    factors = [{"timer": timer, "min_timeout": shortest} for timer, shortest in _SHORTEST.items()]
    return {
        "name": "envoy.overload_actions.reduce_timeouts",
        "triggers": [{"name": _RESOURCE, "scaled": {"scaling_threshold": FIRST, "saturation_threshold": LAST}}],
        "typed_config": typed("config.overload.v3.ScaleTimersOverloadActionConfig", timer_scale_factors=factors),
    }


def put(home: Home, share: float) -> None:
    """`share` of the places that are taken, 0 to 1. Raises OSError."""
    update(names.crowding_file(home), f"{min(1.0, round(share * _STEPS) / _STEPS):g}")


class Crowding:
    """`places`: connections that callers may have at the same time."""

    def __init__(self, home: Home, admin: str, places: int) -> None:
        self._home = home
        self._admin = Admin(admin)
        self._places = places

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. While Envoy does not answer, and where the disk is full, nothing changes."""
        while not stop.wait(EVERY):
            with contextlib.suppress(Unavailable, OSError):
                self.look()
        self._admin.close()

    def look(self) -> None:
        """Raises Unavailable and OSError."""
        put(self._home, self._admin.connections() / self._places)
