"""A loaded model's event loop: listens, answers, sends records, and drains at SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Callable

from serinus_runtime.application import Application
from serinus_runtime.config import Config
from serinus_runtime.model import Model
from serinus_runtime.records import Records
from serinus_runtime.server import Server


def run(config: Config, model: Model, ready: Callable[[], None]) -> None:
    """Returns after SIGTERM, when what was in flight is answered. `ready` is called once requests are answered."""
    asyncio.run(_serve(config, model, ready))


async def _serve(config: Config, model: Model, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # A model's library may have set handlers of its own: what the host counts on is set last.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    records = None
    if config.log is not None:
        records = Records(config.log.socket, config.release, config.log.token)
        records.start()
    application = Application(config, model, records.append if records is not None else None)
    listener = socket.socket(fileno=config.listen_fd)
    listener.setblocking(False)
    server = Server(listener, application.handle, config.settings.max_body_bytes)
    await server.start()
    ready()
    await stop.wait()
    await server.drain()
    if records is not None:
        left = await records.close()
        if left:
            sys.stderr.write(f"{left} batches of prediction records were not acknowledged in time\n")
