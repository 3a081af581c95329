"""Callers that ask a worker again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serinus.targets.local.host.unix_http import call


class Callers:
    """Ask until the block ends, each request on a connection of its own. `answers`: what `seen` makes of each body."""

    def __init__(
        self,
        endpoint: str,
        seen: Callable[[Any], Any],
        body: bytes = b'{"seconds": 0.005}',
        *,
        threads: int,
        seconds: float,
    ) -> None:
        self.path, self.seen, self.body, self.seconds = Path(endpoint), seen, body, seconds
        self.answers: list[Any] = []
        self.failures: list[Exception] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.answers.append(self.seen(call(self.path, "POST", "/", self.body, {}, self.seconds).body))
            except (OSError, TypeError, KeyError) as error:
                self.failures.append(error)

    def __enter__(self) -> Callers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
