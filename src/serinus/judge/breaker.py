"""The circuit breaker, which takes the traffic from a canary that hardly answers at all.

It counts requests and not entities. Otherwise a canary whose few callers all fail would have few entities with an error
and would never be aborted. Several windows in a row must be bad while the champion answers, so that a short stall does
not trip it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from serinus.core.evidence import ArmCounts
from serinus.judge.evidence import StepEvidence, refused

SECONDS = 5.0
"""The length of a window."""
LONGEST = 2 * SECONDS
"""The largest time that one window counts for, however long it took to fill."""
WINDOWS = 3
LEAST_REQUESTS, LEAST_IN_ALL = 3, 10
"""The least number of the canary's requests in a window, and in all windows of the row."""
CANARY_ANSWERS, CHAMPION_ANSWERS = 0.5, 0.95


@dataclass(frozen=True, slots=True)
class Breaker:
    """The counts of the last window that was closed, and for how long windows have been bad in a row."""

    asked: int = 0
    answered: int = 0
    """The canary's answers at the last closed window, without refusals as the caller's mistake."""
    champion_asked: int = 0
    champion_answered: int = 0
    elapsed: float = 0.0
    bad_seconds: float = 0.0
    bad_requests: int = 0
    tripped: str = ""
    """The reason in words. It stays tripped for the rest of the rollout."""

    def after(self, now: StepEvidence, elapsed: float, silence: float = 0.0) -> Breaker:
        """Returns the state after a look.

        `elapsed` are the seconds since the step's split is in force, and `silence` those by which the counts of one arm
        may be late. During that time, a failure of both arms looks like a failure of one.
        """
        if self.tripped or now.canary is None or now.champion is None or not 0.0 < now.q < 1.0:
            return self
        seconds = elapsed - self.elapsed
        asked, answered = _asked(now.canary) - self.asked, now.canary.answered - self.answered
        champion_asked = _asked(now.champion) - self.champion_asked
        champion_answered = now.champion.answered - self.champion_answered
        if seconds < SECONDS or asked < LEAST_REQUESTS or champion_asked < LEAST_REQUESTS:
            return self
        bad = answered < CANARY_ANSWERS * asked and champion_answered > CHAMPION_ANSWERS * champion_asked
        # A look after a pause in which nothing was counted says nothing about the pause.
        bad_seconds = self.bad_seconds + min(seconds, LONGEST) if bad else 0.0
        bad_requests = self.bad_requests + asked if bad else 0
        tripped = ""
        if bad_seconds >= WINDOWS * SECONDS + silence and bad_requests >= LEAST_IN_ALL:
            tripped = (
                f"for {bad_seconds:,.0f} s the canary has answered less than half of its requests (in the last "
                f"{seconds:,.0f} s {answered:,} of {asked:,}), and the champion {champion_answered:,} of "
                f"{champion_asked:,}"
            )
        return Breaker(
            _asked(now.canary),
            now.canary.answered,
            _asked(now.champion),
            now.champion.answered,
            elapsed,
            bad_seconds,
            bad_requests,
            tripped,
        )

    def for_next_step(self) -> Breaker:
        """Returns the state at the beginning of the next step."""
        return Breaker(bad_seconds=self.bad_seconds, bad_requests=self.bad_requests, tripped=self.tripped)

    def as_json(self) -> dict[str, Any]:
        """Returns the state as JSON."""
        return {name: getattr(self, name) for name in _NAMES}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Breaker:
        """Reads the result of `as_json`."""
        return Breaker(**value)


_NAMES = tuple(field.name for field in fields(Breaker))


def _asked(arm: ArmCounts) -> int:
    return arm.requests - refused(arm)
