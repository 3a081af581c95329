"""Long work beside the loop: one job a key, run once, its result kept until it is asked for another key.

Each kind of work has a room of its own, so that what takes seconds is never queued behind what takes minutes.

Jobs are idempotent, so that one which died with the process is simply started again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from serinus.core.errors import TemporaryError

T = TypeVar("T")

A_ROOM = 4
"""Jobs of one kind at a time."""


class Jobs:
    """`executor` is given in tests, to run jobs at once. `told`: called when one has succeeded."""

    def __init__(self, executor: Executor | None = None, told: Callable[[], None] = lambda: None) -> None:
        self._told = told
        self._given = executor
        self._rooms: dict[str, Executor] = {}
        self._running: dict[str, Future[Any]] = {}
        self._errors: dict[str, str] = {}

    def result(self, key: str, work: Callable[[], T], room: str = "") -> T | None:
        """What `work` answered, or None while it runs or waits for others of its `room`. A TemporaryError has it tried
        again; other errors are raised."""
        future = self._running.get(key)
        if future is None:
            future = self._running[key] = self._room(room).submit(work)
            future.add_done_callback(self._tell)
        if not future.done():
            return None
        try:
            result: T = future.result()
        except TemporaryError as error:
            del self._running[key]
            self._errors[key] = str(error)
            raise
        self._errors.pop(key, None)
        return result

    def _room(self, name: str) -> Executor:
        if self._given is not None:
            return self._given
        if name not in self._rooms:
            self._rooms[name] = ThreadPoolExecutor(max_workers=A_ROOM, thread_name_prefix=f"job-{name}")
        return self._rooms[name]

    def _tell(self, future: Future[Any]) -> None:
        # What has failed for now waits for its next turn: told at once, it would be tried without a pause.
        if not future.cancelled() and future.exception() is None:
            self._told()

    def trouble(self, key: str) -> str:
        """The reason why the last try of `key` did not succeed, while it is being tried again."""
        return self._errors.get(key, "")

    def forget(self, prefix: str) -> None:
        """Drops what has ended with keys that begin with `prefix`; what still runs ends by itself, unheard."""
        for key in [k for k in self._running if k.startswith(prefix)]:
            del self._running[key]
            self._errors.pop(key, None)

    def stop(self) -> None:
        for executor in self._rooms.values():
            executor.shutdown(wait=False, cancel_futures=True)
