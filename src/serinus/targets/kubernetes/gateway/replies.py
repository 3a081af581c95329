"""Sends what Envoy has answered itself to the collectors of prediction records."""

from __future__ import annotations

import argparse
import asyncio
import ssl
import threading
from contextlib import suppress

from serinus.backends.envoy import admin_socket, names
from serinus.core.home import Home
from serinus.predictions.intake.forwarding import Collectors, Forwarder

_LOOK_SECONDS = 0.5


def collectors(given: argparse.Namespace) -> Collectors:
    """The collectors of the command line."""
    pairs = [address.rpartition(":") for address in given.collectors]
    authority, token = given.collectors_authority, given.collectors_token
    return Collectors(
        tuple((host.strip("[]"), int(port)) for host, _, port in pairs),
        given.collectors_name,
        lambda: ssl.create_default_context(cafile=str(authority)),
        lambda: token.read_text(encoding="ascii").strip(),
    )


def forward(home: Home, to: Collectors, stop: threading.Event) -> None:
    """Sends until `stop` is set. Raises OSError if its state cannot be saved in `home`."""
    asyncio.run(_forward(home, to, stop))


async def _forward(home: Home, to: Collectors, stop: threading.Event) -> None:
    file = names.local_answers_file(home)
    forwarder = Forwarder(file, file.with_name("sent.json"), to, admin_socket(home))
    running = asyncio.ensure_future(forwarder.run())
    while not stop.is_set() and not running.done():
        await asyncio.sleep(_LOOK_SECONDS)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
