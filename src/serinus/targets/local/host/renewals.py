"""When a worker with the present scale is tried again, after one that did not become ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from serinus.lib.backoff import Backoff
from serinus.targets.local.host.limits import Limits


@dataclass(slots=True)
class Renewals:
    """Of one release. `now`: seconds that never go back."""

    limits: Limits
    now: Callable[[], float]
    trouble: str = ""
    """Why the last one failed, in words; empty: it did not."""
    _not_before: float = 0.0
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.limits.first_delay, self.limits.longest_delay)

    @property
    def due(self) -> bool:
        return self.now() >= self._not_before

    def failed(self, reason: str) -> None:
        self.trouble = f"a worker with its new scale {reason}"
        self._not_before = self.now() + self._backoff.pause()

    def reset(self) -> None:
        """One has succeeded, or what is wanted is another scale."""
        self.trouble, self._not_before = "", 0.0
        self._backoff.reset()
