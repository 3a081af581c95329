"""How late the counts of one arm may be: the longest time in which it showed nothing while the other arm went on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from serinus.judge.evidence import StepEvidence

Number = TypeVar("Number", int, float)

EXPECTED = 8.0
"""The number of requests that the silent arm would have had in that time. Fewer may be missing by chance."""
LONGEST = 60.0
"""The longest silence, in seconds, that the judge waits for."""
LONGER = 1.5
"""The factor by which a silence must be longer than the one before to count, because delays are similar to each
other."""


@dataclass(frozen=True, slots=True)
class Silences:
    """The silences of the champion and of the canary in this step."""

    requests: tuple[int, int] = (0, 0)
    since: tuple[float, float] = (0.0, 0.0)
    """The time of the last new request of each arm."""
    others: tuple[int, int] = (0, 0)
    """The requests of the other arm at that time."""
    silent: tuple[float, float] = (0.0, 0.0)
    """The seconds for which each arm has had no request, where chance does not explain that."""
    longest: float = 0.0
    entities: tuple[int, int] = (0, 0)
    """The entities when the longest silence ended. Until then the counts were of different times."""
    ended: float = 0.0
    """The silence that ended then."""

    def after(self, now: StepEvidence, elapsed: float) -> Silences:
        """Returns the silences after a look."""
        if not 0.0 < now.q < 1.0:
            return self
        arms = (now.champion, now.canary)
        requests = _pair([0 if arm is None else arm.requests for arm in arms])
        entities = _pair([0 if arm is None else arm.first_in_step.get("entities", 0) for arm in arms])
        share = (1.0 - now.q, now.q)
        found = self
        for arm, other in ((0, 1), (1, 0)):
            if requests[arm] > self.requests[arm]:
                if self.silent[arm] > LONGER * found.ended:
                    found = replace(found, entities=entities, ended=self.silent[arm])
                found = found._heard(arm, elapsed, requests[other])
            elif (requests[other] - self.others[arm]) * share[arm] >= EXPECTED * share[other]:
                found = found._unheard(arm, min(elapsed - self.since[arm], LONGEST))
        return replace(found, requests=requests)

    def _heard(self, arm: int, elapsed: float, other: int) -> Silences:
        since, others = _with(self.since, arm, elapsed), _with(self.others, arm, other)
        return replace(self, since=since, others=others, silent=_with(self.silent, arm, 0.0))

    def _unheard(self, arm: int, seconds: float) -> Silences:
        return replace(self, silent=_with(self.silent, arm, seconds), longest=max(self.longest, seconds))

    def as_json(self) -> dict[str, Any]:
        """Returns the state as JSON."""
        return {name: getattr(self, name) for name in _NAMES}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Silences:
        """Reads the result of `as_json`."""
        pairs: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
        return Silences(**pairs)


_NAMES = tuple(field.name for field in fields(Silences))


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]


def _with(pair: tuple[Number, Number], arm: int, value: Number) -> tuple[Number, Number]:
    return (pair[0], value) if arm else (value, pair[1])
