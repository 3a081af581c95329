"""Rolls simulated streams out, and says how many were aborted, passed, or left open."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serinus.core.evidence import Verdict
from serinus.judge import StepEvidence, assess
from simulation import counts as at
from simulation.counts import Counts, arm_counts
from simulation.kinds import CANARY, CHAMPION, Kind
from simulation.panel import ABORTED, GOES_ON, PASSED, Panel, Seen
from simulation.streams import SEGMENT, Streams, segments

MOST_PLACES = 6_000_000
"""Entities of all streams that are made at once."""
MOST_REQUESTS = 4_000_000
"""Of all streams in one segment."""


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

    def add(self, other: Found) -> None:
        for name in ("streams", "passed", "aborted", "tripped", "compared"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.why.update(other.why)
        self.seconds += other.seconds
        self.requests += other.requests
        self.until_abort += other.until_abort
        for step, requests in other.by_step.items():
            self.by_step.setdefault(step, []).extend(requests)


def batch_size(kind: Kind) -> int:
    by_entities = MOST_PLACES // (kind.entities or 1)
    by_requests = MOST_REQUESTS // int(kind.rate * SEGMENT) if kind.entities else 250
    return max(1, min(250, by_entities, by_requests))


def roll_out(kind: Kind, number: int, seed: int, compared: int = 0) -> Found:
    """`compared`: so many of the streams are judged by `assess` as well; raises Disagreement where it says another
    thing."""
    streams, panel = Streams(kind, number, seed), Panel(kind, number)
    found = Found(streams=number)
    witnesses = [_Witness(kind, stream) for stream in range(min(compared, number))]
    totals = np.zeros((number, 2, at.PLACES), np.int64)
    everyone, began = np.arange(number), np.zeros(number, np.int64)
    streams.step_began = began
    streams.begin_step(everyone, panel.weights[panel.step], began)
    open_ = np.ones(number, dtype=bool)
    late = _Late(kind, number)
    for segment in range(segments(kind)):
        added = streams.next()
        going = open_.copy()
        """In this segment: a step that was passed goes on with the next segment."""
        passed_at: dict[int, int] = {}
        last = totals.copy()
        for look in range(streams.looks):
            clock = segment * streams.looks + look + 1
            totals[going] += added[going, look]
            shown = late.shown(totals, clock)
            elapsed = np.asarray((clock - began) * kind.look, np.float64)
            seen = panel.look(shown, elapsed, going)
            for witness in witnesses:
                if going[witness.stream]:
                    witness.look(shown[witness.stream], float(elapsed[witness.stream]), seen, panel)
            for stream in np.flatnonzero(going & (seen.verdict != GOES_ON)).tolist():
                going[stream] = False
                if seen.verdict[stream] == PASSED:
                    requests = int(shown[stream, CANARY, at.REQUESTS])
                    found.by_step.setdefault(int(panel.step[stream]), []).append(requests)
                if seen.verdict[stream] == PASSED and panel.step[stream] < len(kind.steps) - 1:
                    passed_at[stream] = clock - 1
                    last[stream] = shown[stream]
                    continue
                open_[stream] = False
                _end(found, panel, seen, stream, clock * kind.look, shown)
        if passed_at:
            these = np.array(sorted(passed_at))
            for witness in witnesses:
                if witness.stream in passed_at:
                    witness.begin_step(last[witness.stream])
            panel.begin_step(these, last[these])
            ends = np.array([passed_at[one] for one in these.tolist()])
            streams.begin_step(these, panel.weights[panel.step[these]], ends)
            totals[these] = 0
            began[these] = (segment + 1) * streams.looks
            late.begin_step(these)
        if not open_.any():
            break
    found.tripped += int((panel.tripped & open_).sum())
    found.compared = sum(witness.looks for witness in witnesses)
    return found


def _end(found: Found, panel: Panel, seen: Seen, stream: int, seconds: float, shown: Counts) -> None:
    if seen.verdict[stream] == PASSED:
        found.passed += 1
        found.seconds.append(seconds)
        found.requests.append(int((panel.history + shown)[stream, CANARY, at.REQUESTS]))
    else:
        found.aborted += 1
        found.until_abort.append(seconds)
        found.why[panel.names[int(seen.log_bad[stream].argmax())]] += 1


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


class Disagreement(AssertionError):
    """The panel and `assess` judge one stream in two ways."""


class _Witness:
    """Judges one stream by `assess`."""

    def __init__(self, kind: Kind, stream: int) -> None:
        self.kind, self.stream = kind, stream
        self.memory: Mapping[str, Any] = {}
        self.history: list[StepEvidence] = []
        self.looks = 0

    def look(self, shown: Counts, elapsed: float, seen: Seen, panel: Panel) -> None:
        kind, stream, index = self.kind, self.stream, len(self.history)
        now = self._evidence(shown)
        said = assess(kind.policy, kind.steps, index, self.history, now, self.memory, elapsed)
        self.memory = json.loads(json.dumps(said.memory))
        self.looks += 1
        ours = {GOES_ON: None, ABORTED: Verdict.ABORT, PASSED: Verdict.PROMOTE}[int(seen.verdict[stream])]
        theirs = said.verdict if said.verdict in (Verdict.ABORT, Verdict.PROMOTE) else None
        e_values = {metric["name"]: (metric["e_bad"], metric["e_good"]) for metric in said.metrics if "e_bad" in metric}
        for place, name in enumerate(panel.names if said.metrics else ()):
            for log_value, e_value in zip((seen.log_bad, seen.log_good), e_values[name], strict=True):
                mine = math.exp(min(float(log_value[stream, place]), 700.0))
                if not math.isclose(mine, e_value, rel_tol=1e-6, abs_tol=1e-300):
                    raise Disagreement(f"{kind.name}, {elapsed} s, {name}: {mine} and {e_value} ({said.reason})")
        if ours is not theirs or (said.metrics and bool(seen.tripped[stream]) is not said.suspend):
            raise Disagreement(f"{kind.name}, {elapsed} s: {ours} and {said.verdict} ({said.reason})")

    def begin_step(self, last: Counts) -> None:
        self.history.append(self._evidence(last))

    def _evidence(self, shown: Counts) -> StepEvidence:
        weight = self.kind.steps[len(self.history)].weight
        champion, canary = arm_counts("v1", shown[CHAMPION]), arm_counts("v2", shown[CANARY])
        return StepEvidence(weight, champion, canary)
