"""Rolls simulated streams out, and says how many were aborted, passed, or left open."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.core.evidence import Verdict
from serinus.judge import StepEvidence, assess
from simulation import counts as at
from simulation.counts import Counts, arm_counts
from simulation.kinds import CANARY, CHAMPION, Kind
from simulation.panel import ABORTED, GOES_ON, PASSED, Panel, Seen
from simulation.streams import Streams, segments

MOST_STREAMS = 1_000
"""That are rolled out at once."""
MOST_PLACES = 20_000_000
"""Entities of all of them."""
FEW = 0.7
"""Share of open streams below which those that have ended are left out."""


@dataclass
class Found:
    """What became of streams. Seconds and requests are of those that were passed in every step."""

    streams: int = 0
    passed: int = 0
    aborted: int = 0
    tripped: int = 0
    """Left open without traffic."""
    why: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    """Of the canary, by streams that were passed."""
    by_step: dict[int, list[int]] = field(default_factory=dict)
    """The same, of each step that a stream has passed."""
    until_abort: list[float] = field(default_factory=list)
    compared: int = 0
    """Looks at which `assess` has agreed."""

    def as_json(self) -> dict[str, Any]:
        """Without `by_step`."""
        return {name: getattr(self, name) for name in _STORED}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Found:
        return Found(**{**value, "why": Counter(value["why"])})

    def add(self, other: Found) -> None:
        for name in ("streams", "passed", "aborted", "tripped", "compared"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.why.update(other.why)
        self.seconds += other.seconds
        self.requests += other.requests
        self.until_abort += other.until_abort
        for step, requests in other.by_step.items():
            self.by_step.setdefault(step, []).extend(requests)


_STORED = tuple(one.name for one in fields(Found) if one.name != "by_step")


def batch_size(kind: Kind) -> int:
    return max(1, min(MOST_STREAMS, MOST_PLACES // (kind.entities or 1)))


def roll_out(kind: Kind, number: int, seed: int, compared: int = 0) -> Found:
    """`compared`: so many of the streams are judged by `assess` as well; raises Disagreement where it says another
    thing."""
    rollouts = _Rollouts(kind, number, seed, min(compared, number))
    for _ in range(segments(kind)):
        rollouts.segment()
        if not rollouts.open.any():
            break
    return rollouts.ended()


class _Rollouts:
    def __init__(self, kind: Kind, number: int, seed: int, compared: int) -> None:
        self.kind, self.found = kind, Found(streams=number)
        self.streams, self.panel, self.late = Streams(kind, number, seed), Panel(kind, number), _Late(kind, number)
        self.witnesses = [_Witness(kind, stream) for stream in range(compared)]
        self.totals = np.zeros((number, 2, at.PLACES), np.int64)
        self.began = np.zeros(number, np.int64)
        """Looks before each stream's step."""
        self.open = np.ones(number, dtype=bool)
        self.streams.begin_step(np.arange(number), self.panel.weights[self.panel.step], self.began, 0)

    def segment(self) -> None:
        if self.open.mean() < FEW:
            self._keep(np.flatnonzero(self.open))
        kind, panel, added = self.kind, self.panel, self.streams.next()
        going = self.open.copy()
        """In this segment: a step that was passed goes on with the next segment."""
        passed_at: dict[int, int] = {}
        last = np.zeros_like(self.totals)
        begin = (self.streams.segment - 1) * self.streams.looks
        for look in range(self.streams.looks):
            clock = begin + look + 1
            np.add(self.totals, added[look], out=self.totals, where=going[:, None, None])
            shown = self.late.shown(self.totals, clock)
            elapsed = np.asarray((clock - self.began) * kind.look, np.float64)
            seen = panel.look(shown, elapsed, going)
            for witness in self.witnesses:
                if witness.stream >= 0 and going[witness.stream]:
                    witness.look(shown, float(elapsed[witness.stream]), seen, panel)
            for stream in np.flatnonzero(going & (seen.verdict != GOES_ON)).tolist():
                going[stream] = False
                if self._goes_on(stream, int(seen.verdict[stream]), clock * kind.look, shown):
                    passed_at[stream], last[stream] = clock - 1, shown[stream]
        if passed_at:
            self._next_step(passed_at, last, begin + self.streams.looks)

    def _goes_on(self, stream: int, verdict: int, seconds: float, shown: Counts) -> bool:
        """Notes what was decided of a stream, and says whether it has another step."""
        found, panel = self.found, self.panel
        if verdict == PASSED:
            requests = int(shown[stream, CANARY, at.REQUESTS])
            found.by_step.setdefault(int(panel.step[stream]), []).append(requests)
            if panel.step[stream] < len(self.kind.steps) - 1:
                return True
            found.passed += 1
            found.seconds.append(seconds)
            found.requests.append(int((panel.history + shown)[stream, CANARY, at.REQUESTS]))
        else:
            found.aborted += 1
            found.until_abort.append(seconds)
            found.why[panel.worst(stream)] += 1
        self.open[stream] = False
        return False

    def _next_step(self, passed_at: dict[int, int], last: Counts, now: int) -> None:
        these = np.array(sorted(passed_at))
        for witness in self.witnesses:
            if witness.stream in passed_at:
                witness.begin_step(last[witness.stream])
        self.panel.begin_step(these, last[these])
        ends = np.array([passed_at[one] for one in these.tolist()])
        self.streams.begin_step(these, self.panel.weights[self.panel.step[these]], ends, now)
        self.totals[these], self.began[these] = 0, now
        self.late.begin_step(these)

    def _keep(self, streams: npt.NDArray[np.int64]) -> None:
        """Leaves out those that have ended."""
        places = {stream: place for place, stream in enumerate(streams.tolist())}
        for witness in self.witnesses:
            witness.stream = places.get(witness.stream, -1)
        self.totals, self.began, self.open = self.totals[streams], self.began[streams], self.open[streams]
        for part in (self.panel, self.streams, self.late):
            part.keep(streams)

    def ended(self) -> Found:
        self.found.tripped = int((self.panel.breaker.tripped & self.open).sum())
        self.found.compared = sum(witness.looks for witness in self.witnesses)
        return self.found


class _Late:
    """What the judge is shown of counts that come late, or in clumps."""

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind = kind
        self.lag = [round(seconds / kind.look) for seconds in kind.late]
        self.clump = [round(seconds / kind.look) for seconds in kind.clumps]
        self._past: list[Counts] = []
        self._clumped = np.zeros((number, 2, at.PLACES), np.int64)

    def shown(self, totals: Counts, clock: int) -> Counts:
        if not any(self.lag) and not any(self.clump):
            return totals
        shown = totals.copy()
        if any(self.lag):
            self._past = [*self._past[-max(self.lag) :], totals.copy()]
            for arm, lag in enumerate(self.lag):
                if lag:
                    shown[:, arm] = self._past[-1 - lag][:, arm] if len(self._past) > lag else 0
        for arm, clump in enumerate(self.clump):
            if clump and clock % clump == 0:
                self._clumped[:, arm] = shown[:, arm]
            if clump:
                shown[:, arm] = self._clumped[:, arm]
        return shown

    def begin_step(self, streams: Any) -> None:
        self._clumped[streams] = 0
        for one in self._past:
            one[streams] = 0

    def keep(self, streams: Any) -> None:
        self._clumped = self._clumped[streams]
        self._past = [one[streams] for one in self._past]


MOST = math.exp(700.0)
"""E-value that `assess` says at most."""


class Disagreement(AssertionError):
    """The panel and `assess` judge one stream in two ways."""


class _Witness:
    """Judges one stream by `assess`, until it has ended and is -1."""

    def __init__(self, kind: Kind, stream: int) -> None:
        self.kind, self.stream = kind, stream
        self.memory: Mapping[str, Any] = {}
        self.history: list[StepEvidence] = []
        self.looks = 0

    def look(self, counts: Counts, elapsed: float, seen: Seen, panel: Panel) -> None:
        """`counts`: of all streams, since their steps began."""
        kind, stream, index = self.kind, self.stream, len(self.history)
        now = self._evidence(counts[stream])
        said = assess(kind.policy, kind.steps, index, self.history, now, self.memory, elapsed)
        self.memory = json.loads(json.dumps(said.memory))
        self.looks += 1
        ours = {GOES_ON: None, ABORTED: Verdict.ABORT, PASSED: Verdict.PROMOTE}[int(seen.verdict[stream])]
        theirs = said.verdict if said.verdict in (Verdict.ABORT, Verdict.PROMOTE) else None
        e_values = {metric["name"]: (metric["e_bad"], metric["e_good"]) for metric in said.metrics if "e_bad" in metric}
        for name, found in panel.e_values(counts, stream).items() if said.metrics else ():
            for mine, e_value in zip(found, e_values[name], strict=True):
                if not math.isclose(min(mine, MOST), e_value, rel_tol=1e-6, abs_tol=1e-300):
                    raise Disagreement(f"{kind.name}, {elapsed} s, {name}: {mine} and {e_value} ({said.reason})")
        if ours is not theirs or (said.metrics and bool(seen.tripped[stream]) is not said.suspend):
            raise Disagreement(f"{kind.name}, {elapsed} s: {ours} and {said.verdict} ({said.reason})")

    def begin_step(self, last: Counts) -> None:
        self.history.append(self._evidence(last))

    def _evidence(self, shown: Counts) -> StepEvidence:
        weight = self.kind.steps[len(self.history)].weight
        champion, canary = arm_counts("v1", shown[CHAMPION]), arm_counts("v2", shown[CANARY])
        return StepEvidence(weight, champion, canary)
