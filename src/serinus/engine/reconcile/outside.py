"""Calls to systems outside of Serinus, which may take long to answer: the registry, and the server of the fleet
repository. The loop does not wait for them, because what callers get must not depend on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from serinus.core.errors import TemporaryError
from serinus.engine.reconcile.jobs import Jobs

T = TypeVar("T")


class Pending(Exception):
    """A call has not been answered yet. The text says why the call before it failed. Empty: it did not."""


class Outside:
    """Makes calls as jobs, one at a time for each key."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._requests: dict[str, object] = {}
        """Key -> the request of the call that has been made and whose answer was not taken yet."""
        self._failed: dict[str, str] = {}
        """Key -> why the last call failed."""

    def answer(self, key: str, request: object, call: Callable[[], T], room: str) -> T:
        """Returns the answer to `request`, which `call` makes in a job. Each answer is returned once. Raises Pending
        until the call has ended, and whatever the call raises.

        The answer to an earlier request with this key is dropped if that request was another one.
        """
        while True:
            asked = self._requests.setdefault(key, request)
            try:
                found = self._jobs.result(f"{key}/", lambda: (call(),), room)
            except Exception as error:
                self._forget(key)
                if asked == request:
                    self._failed[key] = str(error)
                    raise
                continue
            if found is None:
                raise Pending(self._failed.get(key, ""))
            self._forget(key)
            self._failed.pop(key, None)
            if asked == request:
                return found[0]

    def drop(self, key: str) -> None:
        """Forgets a call, whether or not it was answered, and why one failed: nobody will ask for the answer."""
        self._failed.pop(key, None)
        if key in self._requests:
            self._forget(key)

    def _forget(self, key: str) -> None:
        del self._requests[key]
        self._jobs.forget(f"{key}/")


class Unsettled:
    """What does not match the status of a model yet."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        """Sentences for people, each with the name of its part."""
        self.pending = False
        """Whether a call outside has not been answered yet, which is nothing to report."""

    def __bool__(self) -> bool:
        return self.pending or bool(self.lines)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Notes that the part raises Pending or TemporaryError."""
        try:
            yield
        except Pending as call:
            self.pending = True
            if str(call):
                self.lines.append(f"{name}: {call}")
        except TemporaryError as error:
            self.lines.append(f"{name}: {error}")
