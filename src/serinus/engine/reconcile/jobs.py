"""Long work beside the loop. Each key has one job, which runs once, and whose result is kept.

Each kind of work has threads of its own, so that short jobs never wait for long ones of another kind. Jobs are
idempotent, so that a job that was interrupted by a crash is started again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from serinus.core.errors import TemporaryError

T = TypeVar("T")

A_ROOM = 4
"""The number of jobs of one kind that run at a time."""


class Jobs:
    """Runs jobs. `told` is called after a job has succeeded. Tests pass an `executor` that runs jobs at once."""

    def __init__(self, executor: Executor | None = None, told: Callable[[], None] = lambda: None) -> None:
        self._told = told
        self._given = executor
        self._rooms: dict[str, Executor] = {}
        self._running: dict[str, Future[Any]] = {}
        self._errors: dict[str, str] = {}

    def result(self, key: str, work: Callable[[], T], room: str = "") -> T | None:
        """Returns the result of `work`. None: it runs, or waits for others of its `room`.

        After a TemporaryError it is tried again. Other errors are raised.
        """
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
        # After a failure the engine is not woken. It would try again without a pause.
        if not future.cancelled() and future.exception() is None:
            self._told()

    def trouble(self, key: str) -> str:
        """Returns why the last attempt of `key` failed, while it is being tried again."""
        return self._errors.get(key, "")

    def forget(self, prefix: str) -> None:
        """Drops the results of keys that begin with `prefix`. The results of jobs that still run are ignored."""
        for key in [k for k in self._running if k.startswith(prefix)]:
            del self._running[key]
            self._errors.pop(key, None)

    def stop(self) -> None:
        """Stops accepting jobs, and cancels those that have not begun."""
        for executor in self._rooms.values():
            executor.shutdown(wait=False, cancel_futures=True)
