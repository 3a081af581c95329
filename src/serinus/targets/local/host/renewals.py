"""The back-off of replacements that did not become ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from serinus.lib.backoff import Backoff
from serinus.targets.local.host.limits import Limits


@dataclass(slots=True)
class Renewals:
    """The replacements of one release. `now` returns seconds that never decrease."""

    limits: Limits
    now: Callable[[], float]
    trouble: str = ""
    """Why the last one failed, in words. Empty: it did not."""
    _not_before: float = 0.0
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.limits.first_delay, self.limits.longest_delay)

    @property
    def due(self) -> bool:
        """Whether another one may be started."""
        return self.now() >= self._not_before

    def failed(self, reason: str) -> None:
        """Records a failure."""
        self.trouble = f"a worker with its new scale {reason}"
        self._not_before = self.now() + self._backoff.pause()

    def reset(self) -> None:
        """Records a success, or another scale."""
        self.trouble, self._not_before = "", 0.0
        self._backoff.reset()
