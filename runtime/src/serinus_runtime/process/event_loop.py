"""The event loop of a loaded model: it listens, answers, sends records, and drains at SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from typing import Any, Callable, Coroutine

from serinus_runtime.base import accelerators
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.cache.response_cache import response_cache_of
from serinus_runtime.http.server import Server
from serinus_runtime.model.batching import Batcher
from serinus_runtime.model.predictor import Predictor, row_predictor
from serinus_runtime.process.draining import Draining
from serinus_runtime.process.load_report import LoadReports
from serinus_runtime.process.wire import Wire
from serinus_runtime.records.sender import Records
from serinus_runtime.serving.application import Application


def run(config: Config, model: Predictor, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM, and until the requests in flight are answered. `ready` is called once requests are
    answered."""
    accelerators.find()
    gc.collect()
    gc.freeze()  # Garbage collections need not examine what is loaded, because it stays.
    _run(_serve(config, model, ready))


def _run(serve: Coroutine[Any, Any, None]) -> None:
    """Runs on uvloop where it exists."""
    if accelerators.uvloop is None:
        asyncio.run(serve)
    elif sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=accelerators.uvloop.new_event_loop) as runner:
            runner.run(serve)
    else:
        asyncio.set_event_loop_policy(accelerators.uvloop.EventLoopPolicy())
        asyncio.run(serve)


async def _serve(config: Config, model: Predictor, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # A model's library may have set handlers of its own, so those that the host relies on are set last.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    records = wire = None
    if config.log:
        records = Records(scratch=config.scratch)
        records.start()
        wire = Wire(config.report_fd, records.take)
    kept = (records.append, records.full) if records is not None else (None, None)
    cache = response_cache_of(config, model.signature, _say)
    batcher = batcher_of(config.settings, model, loop, lambda: len(server.connections))
    application = Application(config, model, *kept, cache=cache, batcher=batcher)
    listener = socket.socket(fileno=config.listen_fd)
    listener.setblocking(False)
    server = Server(listener, application.handle, config.settings.max_body_bytes, refuse=application.refuse)
    await server.start()
    reports = LoadReports(server, config.report_fd, stop.set, always=config.heartbeat)
    draining = Draining(server, stop.set)
    reports.start()
    draining.start()  # This comes before anybody knows of the worker, because it may be told to drain from then on.
    ready()
    await stop.wait()
    reports.stop()
    draining.stop()
    await server.drain()
    if records is not None:
        left = await records.close()
        if left:
            sys.stderr.write(f"{left} batches of prediction records were not acknowledged in time\n")
    if wire is not None:
        wire.close()


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def batcher_of(
    settings: Settings, model: Predictor, loop: asyncio.AbstractEventLoop, callers: Callable[[], int]
) -> Batcher | None:
    """Returns the batcher. None: the release has no batches, must not have any, or has a way to predict a row that is
    faster than waiting."""
    alone = settings.one_at_a_time or settings.rows == "together"
    if not settings.batch_delay_ms or alone or row_predictor(model) is not None:
        return None
    return Batcher(model, loop, settings.batch_delay_ms / 1000, settings.batch_rows, callers=callers)
