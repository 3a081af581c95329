"""What the host does to a release that its callers notice, and no release is to answer for.

A worker that ends by itself, or is ended for what it has done, is the release's own matter: what follows from it is
evidence, and is never written down here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from serinus.core.disturbance import Cause
from serinus.disturbances import Journal

SETTLED = 3.0
"""Seconds after a worker has become ready for which it is still new: its first requests fill caches."""
MOST = 10
"""Within an hour, of those that a release could bring about itself, by what it asks of processors, or by whom it has
scaled to zero: a release that does so again and again is judged by it."""
_HOUR = 3600.0
_OF_ITS_OWN = frozenset({Cause.ACTIVATION, Cause.SCALING})


@dataclass(slots=True)
class Effect:
    """Of one disturbance, while it goes on."""

    lasts: float = 0.0
    """Seconds from its end on."""


@dataclass(slots=True)
class Disturbing:
    """Of one release."""

    journal: Journal
    model: str
    now: Callable[[], float] = time.monotonic
    _lately: deque[float] = field(default_factory=deque)

    @contextmanager
    def by(self, cause: Cause | None) -> Iterator[Effect]:
        """For as long as the block takes, and the effect lasts. None: it is not the platform's doing."""
        effect = Effect()
        if cause is None or not self._may(cause):
            yield effect
            return
        number = self.journal.begin(cause, self.model)
        try:
            yield effect
        finally:
            self.journal.end(number, effect.lasts)

    def _may(self, cause: Cause) -> bool:
        if cause not in _OF_ITS_OWN:
            return True
        now = self.now()
        while self._lately and now - self._lately[0] >= _HOUR:
            self._lately.popleft()
        if len(self._lately) >= MOST:
            return False
        self._lately.append(now)
        return True
