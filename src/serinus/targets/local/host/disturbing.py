"""Disturbances that the host causes, for which no release is responsible.

A worker that ends by itself, or is ended for exceeding a limit, is the release's own responsibility. The consequences
are evidence and are not recorded here.
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
"""Seconds after a worker has become ready in which its first requests fill caches."""
MOST = 10
"""The number of disturbances within an hour that a release may cause itself, by its use of processors or by being
scaled to zero. A release that exceeds it is judged by the consequences."""
_HOUR = 3600.0
_OF_ITS_OWN = frozenset({Cause.ACTIVATION, Cause.SCALING})


@dataclass(slots=True)
class Effect:
    """The effect of a disturbance while it lasts."""

    lasts: float = 0.0
    """Seconds for which it lasts after its end."""


@dataclass(slots=True)
class Disturbing:
    """The disturbances of one release."""

    journal: Journal
    model: str
    now: Callable[[], float] = time.monotonic
    _lately: deque[float] = field(default_factory=deque)

    @contextmanager
    def by(self, cause: Cause | None) -> Iterator[Effect]:
        """Records a disturbance for the duration of the block and of its effect. None: the platform is not the
        cause."""
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
