"""A real collector that serves other machines, by TLS and with tokens that a test vouches for."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from identities import Authority

from serinus.core.home import Home
from serinus.core.ports import Writer
from serinus.lib import locks
from serinus.predictions.collector import Collector, Settings
from serinus.predictions.intake.listener import RemoteDoor
from serinus.predictions.log import DeltaPredictionLog
from serinus.predictions.paths import lock_path

NAME = "collector.test"


class RemoteCollector:
    """`open` runs it in a thread of its own. It can be stopped and started again. `tokens` are those that are valid."""

    def __init__(self, directory: Path, tokens: Mapping[str, Writer]) -> None:
        self.home = Home(directory / "home")
        for path in self.home.directories:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.secret.write_text("secret of the home")
        self.tokens = dict(tokens)
        authority = Authority()
        chain, key = authority.issue(NAME).written(directory)
        self._certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.load_cert_chain(chain, key)
        self.authority = directory / "authority.pem"
        self.authority.write_bytes(authority.pem)
        self.port = 0
        self._thread: threading.Thread | None = None

    def owner(self, token: str) -> Writer | None:
        return self.tokens.get(token)

    def open(self) -> None:
        opened = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(opened)), daemon=True)
        self._thread.start()
        assert opened.wait(20)

    def close(self) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
            self._thread = None

    async def _serve(self, opened: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self.collecting():
            opened.set()
            await self._stop.wait()

    @asynccontextmanager
    async def collecting(self) -> AsyncIterator[Collector]:
        """Runs it in this event loop, on the same port each time."""
        lock = locks.take(lock_path(self.home), seconds=5)
        assert lock is not None
        door = RemoteDoor("127.0.0.1", self.port, self._certificate, self)
        collector = Collector(self.home, Settings(settle_seconds=0.1), lock, remote=door)
        stop = asyncio.Event()
        running = asyncio.create_task(collector.run(stop))
        while collector._intake.remote_port is None:
            await asyncio.sleep(0.01)
            assert not running.done()
        self.port = collector._intake.remote_port
        try:
            yield collector
        finally:
            stop.set()
            await running
            os.close(lock)

    def requests(self, release: str) -> int:
        """Returns how many requests of a release were counted."""
        found = DeltaPredictionLog(self.home).totals().get(release)
        return 0 if found is None else found.requests
