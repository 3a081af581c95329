"""Brings releases into the cluster, each in a thread of its own: an image may take minutes to build, and what the
cluster refuses is tried again until it is allowed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from serinus.core.errors import PermanentError, SerinusError, TemporaryError
from serinus.core.placement import PlacementState
from serinus.core.release import Release, Scale
from serinus.lib.backoff import Backoff

log = logging.getLogger(__name__)

_AT_ONCE = 4
"""Releases that are brought at the same time."""
_LONGEST_PAUSE = 60.0
_AFTER_FAILURE = 300.0
"""Seconds. Somebody may have changed what it depends on: the base image, a policy of the cluster."""


@dataclass(eq=False)
class Wish:
    """A release that is to run, and is not known to the cluster as it shall be yet."""

    release: Release
    scale: Scale
    reason: str = ""
    """Why it has not been brought yet."""
    image: str = ""
    """Of the release, once it was built."""
    failed: bool = False
    """Trying again is of little use."""
    ended: threading.Event = field(default_factory=threading.Event)
    writing: threading.Lock = field(default_factory=threading.Lock)
    """Held while the cluster is written to, which does not begin once it has ended."""

    @property
    def state(self) -> PlacementState:
        return PlacementState.FAILED if self.failed else PlacementState.STARTING


class Placing:
    """`bring`: makes the cluster run a wish; raises a TemporaryError to be called again soon, and a PermanentError
    where that is of little use. It writes to the cluster with `Wish.writing` held. Safe for several threads."""

    def __init__(self, bring: Callable[[Wish], None]) -> None:
        self._bring = bring
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(_AT_ONCE)
        self._wishes: dict[str, Wish] = {}

    def wish(self, release: Release, scale: Scale) -> None:
        """Returns at once. What is wished last holds."""
        made = Wish(release, scale)
        with self._lock:
            before = self._wishes.get(release.id)
            if before is not None and (before.release, before.scale, before.failed) == (release, scale, False):
                return
            self._wishes[release.id] = made
        if before is not None:
            _end(before)
        threading.Thread(target=self._run, args=(made,), name=f"place-{release.id}", daemon=True).start()

    def forget(self, release_id: str) -> Wish | None:
        """Ends what is being tried: nothing is written for it after this has returned."""
        with self._lock:
            found = self._wishes.pop(release_id, None)
        if found is not None:
            _end(found)
        return found

    def wishes(self) -> Mapping[str, Wish]:
        with self._lock:
            return dict(self._wishes)

    def close(self) -> None:
        for wish in self.wishes().values():
            _end(wish)

    def _run(self, wish: Wish) -> None:
        backoff = Backoff(0.5, _LONGEST_PAUSE)
        while not wish.ended.is_set():
            pause = 0.0
            try:
                with self._turns:
                    if not wish.ended.is_set():
                        self._bring(wish)
            except TemporaryError as error:
                wish.reason, pause = str(error), min(backoff.pause(), max(error.delay, 0.5))
            except PermanentError as error:
                wish.reason, wish.failed, pause = str(error), True, _AFTER_FAILURE
            except SerinusError as error:
                wish.reason, pause = str(error), backoff.pause()
            except Exception as error:
                log.exception("%s could not be placed.", wish.release.id)
                wish.reason, pause = f"it could not be placed: {type(error).__name__}", backoff.pause()
            else:
                self._done(wish)
                return
            wish.ended.wait(pause)

    def _done(self, wish: Wish) -> None:
        with self._lock:
            if self._wishes.get(wish.release.id) is wish:
                del self._wishes[wish.release.id]


def _end(wish: Wish) -> None:
    wish.ended.set()
    wish.writing.acquire()  # what was being written is written
    wish.writing.release()
