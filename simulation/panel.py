"""The judge once more, for many streams at once: `serinus.judge.assess` in arrays, without words.

It exists because 2,000 streams of each kind, looked at twice a second, would take `assess` days. It is a second
implementation, and no evidence by itself: `simulation.run` hands streams of every kind to `assess` as well, and both
must agree at every look on the verdict and on every e-value. Simulated callers make no mistakes, so that nothing is
refused.

What cannot change a verdict is not computed: a metric without an event, `E_good` before the minimums are met, and
whatever a look without an event leaves as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from serinus.core.routing import WHOLE, Role
from serinus.judge import bounded, mixture
from serinus.judge.assess import AS_ONE, MISMATCH, WARM_UP, WARM_UP_SHARE
from serinus.judge.clearing import BURST, MOST_ALERTS
from serinus.judge.evidence import DEPLETED
from serinus.judge.metrics import METRICS, Metric, tolerance_of
from simulation import counts as at
from simulation.counts import Counts
from simulation.kinds import CANARY, CHAMPION, EVENTS, Kind
from simulation.parts import Bounded, Breaker, Levels, Part, Restarting, Silences

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

GOES_ON, ABORTED, PASSED = 0, 1, 2
_MULTIPLIERS = np.array(mixture.MULTIPLIERS)
_EVEN = np.full(len(_MULTIPLIERS), 1.0 / len(_MULTIPLIERS))
_BETTER = mixture.better(0.5, 2.0).weights


def _log_ratio_gains(share: Floats, null: float, ratios: Floats, hits: Integers, misses: Integers) -> Floats:
    """[row, alternative], of bets on `ratios` against `null`: log((p_r / p_0)^hits ((1 - p_r) / (1 - p_0))^misses),
    where p_r = share r / (share r + 1 - share)."""
    scale = np.log1p(share[:, None] * (np.append(ratios, null) - 1.0))
    events = (hits + misses)[:, None]
    return np.asarray(hits[:, None] * np.log(ratios / null) + events * (scale[:, -1:] - scale[:, :-1]))


def _value(weights: Floats, gains: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(gains) @ weights)


@dataclass
class Seen:
    """Of one look, by stream."""

    verdict: Integers
    tripped: Booleans
    judged: Booleans


class _Case:
    """One metric under the policy."""

    def __init__(self, metric: Metric, kind: Kind) -> None:
        tolerance = tolerance_of(metric, kind.policy)
        assert tolerance is not None
        self.name, self.rare, self.suspect = metric.name, metric.rare, CANARY
        if metric.suspect is Role.CHAMPION:
            self.suspect = CHAMPION
        self.other = 1 - self.suspect
        self.rho_ok, self.rho_bad = tolerance.rho_ok, tolerance.rho_bad
        self.limit = metric.limit if tolerance.budget is None else tolerance.budget
        self.event = EVENTS.index(metric.event)
        self.of_alerts = metric.event == "alerts"
        self.trials = at.ANSWERED if metric.needs_answer else at.REQUESTS
        self.warms_up = metric.warms_up


class Panel(Part):
    """Streams of one kind, each at a step of its own."""

    rows = ("step", "history", "taken", "looked", "carried", "better", "value_bad")

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind, self.number = kind, number
        self.cases = [_Case(metric, kind) for metric in METRICS if tolerance_of(metric, kind.policy) is not None]
        self.told = [place for place, case in enumerate(self.cases) if case.event in kind.active]
        """The metrics that have events. The state has one row for each stream and such metric."""
        self._by_first_open = list(range(len(self.cases)))
        shape = (number, len(self.told), len(_MULTIPLIERS))
        self.step = np.zeros(number, np.int64)
        self.history = np.zeros((number, 2, at.PLACES), np.int64)
        """Sum over the steps before."""
        self.taken = np.zeros((number, 2, at.PLACES), np.int64)
        self.looked = np.zeros(number)
        self.carried = np.zeros(shape)
        self.better = np.zeros((number, len(self.told), len(_MULTIPLIERS) + 1))
        self.value_bad = np.zeros(shape[:2])
        """Of the unbounded `E_bad`, as of the last look."""
        self.restarting = Restarting(shape[:2])
        self.bounded = Bounded(shape[:2])
        self.levels = Levels(number)
        self.silences = Silences(number)
        self.breaker = Breaker(number)
        self.parts = (self.restarting, self.bounded, self.levels, self.silences, self.breaker)
        self.weights = np.array([step.weight for step in kind.steps])
        self.minimum_requests = np.array([step.minimum_requests for step in kind.steps])
        self.minimum_seconds = np.array([step.minimum_seconds for step in kind.steps])
        policy = kind.policy
        self.bound_bad, self.bound_good = policy.metrics_for_alpha / policy.alpha, 1.0 / policy.beta

    @property
    def q(self) -> Floats:
        return np.asarray(self.weights[self.step] / WHOLE)

    def begin_step(self, streams: Integers, last: Counts) -> None:
        """`last`: the counts with which the step before has ended."""
        self.step[streams] += 1
        self.history[streams] += last
        self.taken[streams] = 0
        self.looked[streams] = 0.0
        for part in self.parts:
            part.begin_step(streams)
        self.better[streams] = 0.0
        self.value_bad[streams] = self._value_bad(self.carried[streams], self.restarting.logs[streams])

    def keep(self, streams: Integers) -> None:
        super().keep(streams)
        self.number = len(streams)
        for part in self.parts:
            part.keep(streams)

    def look(self, now: Counts, elapsed: Floats, active: Booleans) -> Seen:
        """`now`: [stream, arm, place], since the step began. What is not `active` stays as it is."""
        requests = now[:, :, at.REQUESTS]
        self.silences.add(active, requests, now[:, :, at.ENTITIES], elapsed, self.q)
        active = active & (requests > 0).all(axis=1) & (requests >= self.taken[:, :, at.REQUESTS]).all(axis=1)
        taken = active & self._of_one_time(requests)
        self._remember(now, elapsed, np.flatnonzero(taken))
        self.breaker.add(now, elapsed, active, self.silences.longest)
        self.taken[taken], self.looked[taken] = now[taken], elapsed[taken]
        verdict = np.full(self.number, GOES_ON)
        bad = self._bad(active)
        bad = bad[~self._mismatch(now, bad)]
        verdict[bad] = ABORTED
        open_ = active & (verdict == GOES_ON) & ~self.breaker.tripped
        open_ &= now[:, CANARY, at.ANSWERED] >= self.minimum_requests[self.step]
        open_ &= elapsed >= self.minimum_seconds[self.step]
        cleared = self._cleared(now, np.flatnonzero(open_))
        verdict[cleared[~self._mismatch(now, cleared)]] = PASSED
        return Seen(verdict, self.breaker.tripped.copy(), active)

    def worst(self, stream: int) -> str:
        """The metric that speaks most against a stream."""
        return self.cases[self.told[int(self.value_bad[stream].argmax())]].name

    def e_values(self, now: Counts, stream: int) -> dict[str, tuple[float, float]]:
        """Of each metric, against the canary and for it."""
        rows, found = np.array([stream]), {}
        for place, case in enumerate(self.cases):
            carried, restarting = np.zeros((1, len(_EVEN))), np.full((1, len(_EVEN)), math.log(0.5))
            if place in self.told:
                mine = self.told.index(place)
                carried, restarting = self.carried[rows, mine], self.restarting.logs[rows, mine]
            found[case.name] = (float(self._value_bad(carried, restarting)[0]), float(self._good(place, now, rows)[0]))
        return found

    # --- parts, each as in the module of `serinus.judge` that it is named after ------------------------------

    def _of_one_time(self, requests: Integers) -> Booleans:
        new = requests - self.taken[:, :, at.REQUESTS]
        odds = self.q / (1.0 - self.q)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(new[:, CANARY] / new[:, CHAMPION])
            near = np.abs(ratio - np.log(odds)) <= AS_ONE
            near |= np.abs(ratio - np.log(requests[:, CANARY] / requests[:, CHAMPION])) <= AS_ONE
        none, both = (new == 0).all(axis=1), (new > 0).all(axis=1)
        return np.asarray(none | (both & near))

    def _remember(self, now: Counts, elapsed: Floats, taken: Integers) -> None:
        """`taken`: streams of which what is new can be taken."""
        if not len(taken):
            return
        new = now[taken] - self.taken[taken]
        times, seconds = elapsed[taken], elapsed[taken] - self.looked[taken]
        sank = self.levels.add(taken, new, seconds)
        warm_up = times < np.minimum(WARM_UP, self.minimum_seconds[self.step[taken]] * WARM_UP_SHARE)
        silence = self.silences.longest[taken]
        most = math.log(self.bound_bad) / (bounded.WINDOWS + silence / bounded.SECONDS)
        for mine, place in enumerate(self.told):
            case = self.cases[place]
            if not case.rare:
                good = self.levels.of(case.event, case.other)
                void = taken[sank[:, good]]
                self.better[void, mine] = np.minimum(self.better[void, mine], 0.0)
            these = np.flatnonzero(~warm_up) if case.warms_up else np.arange(len(taken))
            window = (times[these], seconds[these] - 2.0 * silence[these], most[these])
            self.bounded.begin_look(taken[these], mine, *window)
            self._against(mine, case, taken[these], new[these])
            self.bounded.end_look(taken[these], mine, *window)
            if not case.rare:
                self._for(mine, case, taken[these], new[these])

    def _against(self, mine: int, case: _Case, streams: Integers, new: Counts) -> None:
        void = None
        if case.suspect == CHAMPION:
            void = self.levels.departs[streams, self.levels.of(case.event, CHAMPION)]
        in_rollout = self._worse(case, new, at.ROLLOUT, at.AT_RISK_ROLLOUT)
        in_step = in_rollout if not self.kind.entities else self._worse(case, new, at.STEP, at.AT_RISK_STEP)
        changed = streams[in_rollout[0]]
        for (rows, gains, events), state, window in (
            (in_rollout, self.carried, self.bounded.in_rollout),
            (in_step, None, self.bounded.in_step),
        ):
            who = streams[rows]
            bounded_gains = gains if void is None else np.where(void[rows, None], np.minimum(gains, 0.0), gains)
            window[who, mine] += bounded_gains
            if state is None:
                self.restarting.add(who, mine, gains, events)
                self.bounded.events[who, mine] += events
            else:
                state[who, mine] += gains
        if self.kind.entities:
            changed = np.union1d(changed, streams[in_step[0]])
        value = self._value_bad(self.carried[changed, mine], self.restarting.logs[changed, mine])
        self.value_bad[changed, mine] = value

    def _worse(self, case: _Case, new: Counts, first: slice, risk: slice) -> tuple[Integers, Floats, Integers]:
        """Which rows of `new` have first events that tell something, their gains, and how many events they have."""
        rows, hits, misses, share = self._tells(case, new, first, risk)
        gains = _log_ratio_gains(share, case.rho_ok, case.rho_ok * _MULTIPLIERS, hits, misses)
        return rows, gains, hits + misses

    @staticmethod
    def _tells(case: _Case, new: Counts, first: slice, risk: slice) -> tuple[Integers, Integers, Integers, Floats]:
        event = new[:, :, first.start + case.event]
        ours, theirs = (new[:, arm, risk.start + case.event] for arm in (case.suspect, case.other))
        rows = np.flatnonzero(event.any(axis=1) & (ours > 0) & (theirs > 0))
        ours, theirs = ours[rows], theirs[rows]
        return rows, event[rows, case.suspect], event[rows, case.other], ours / (ours + theirs)

    def _for(self, mine: int, case: _Case, streams: Integers, new: Counts) -> None:
        found = [(np.arange(len(new)), at.STEP, at.AT_RISK_STEP)]
        if self.kind.entities:
            risk, trials = new[:, :, at.AT_RISK_STEP.start + case.event], new[:, :, case.trials]
            out = (risk < DEPLETED * trials).any(axis=1)
            found = [
                (np.flatnonzero(~out), at.STEP, at.AT_RISK_STEP),
                (np.flatnonzero(out), at.WINDOW, at.AT_RISK_WINDOW),
            ]
        departs = self.levels.departs[streams, self.levels.of(case.event, case.other)]
        ratios = np.append(1.0, case.rho_bad / _MULTIPLIERS)
        for these, first, risk_of in found:
            if len(these):
                rows, hits, misses, share = self._tells(case, new[these], first, risk_of)
                good = _log_ratio_gains(share, case.rho_bad, ratios, hits, misses)
                rows = these[rows]
                good = np.where(departs[rows, None], np.minimum(good, 0.0), good)
                self.better[streams[rows], mine] += good

    def _value_bad(self, carried: Floats, logs: Floats) -> Floats:
        return (_value(_EVEN, carried) + _value(_EVEN, logs) / len(self.kind.steps)) / 2.0

    def _bad(self, active: Booleans) -> Integers:
        """Streams of which a metric speaks against the canary, and not by a burst alone."""
        reaches = active[:, None] & (self.value_bad >= self.bound_bad)
        streams, mine = np.nonzero(reaches)
        if not len(streams):
            return streams
        enough = self._value_bad(*self.bounded.whole(streams, mine)) >= self.bound_bad
        return np.unique(streams[enough | self.breaker.tripped[streams]])

    # --- for it ---------------------------------------------------------------------------------------------

    def _cleared(self, now: Counts, streams: Integers) -> Integers:
        """Those of which every metric is cleared. What is most often open is asked first."""
        for place in tuple(self._by_first_open):
            if not len(streams):
                break
            cleared = self._good(place, now, streams) >= self.bound_good
            if not cleared.any():
                self._by_first_open.remove(place)
                self._by_first_open.insert(0, place)
            streams = streams[cleared]
        return streams

    def _good(self, place: int, now: Counts, streams: Integers) -> Floats:
        case, now = self.cases[place], now[streams]
        found = self._by_limit(case, now, streams)
        if not case.rare:
            by_ratio = np.ones(len(streams))
            if place in self.told:
                by_ratio = _value(np.array(_BETTER), self.better[streams, self.told.index(place)])
            found = by_ratio if found is None else (found + by_ratio) / 2.0
        assert found is not None
        return np.where(self._blind(now, case), 0.0, found) if case.of_alerts else found

    def _by_limit(self, case: _Case, now: Counts, streams: Integers) -> Floats | None:
        if case.limit is None:
            return None
        trials = now[:, case.suspect, case.trials]
        bad = np.minimum(now[:, case.suspect, at.TOTAL.start + case.event], trials)
        found = _below(mixture.below(0.5), np.full(len(streams), case.limit), bad, trials - bad)
        last = np.flatnonzero(self.step[streams] == len(self.weights) - 1)
        if len(last):
            found[last] = np.minimum(found[last], self._by_bursts(case, now[last] + self.history[streams[last]]))
        return found

    @staticmethod
    def _by_bursts(case: _Case, whole: Counts) -> Floats:
        trials = whole[:, case.suspect, case.trials]
        events, first = (whole[:, :, scope.start + case.event] for scope in (at.TOTAL, at.ROLLOUT))
        own = _burst_of(events[:, case.suspect], first[:, case.suspect])
        both = _burst_of(events.sum(axis=1), first.sum(axis=1))
        size = np.maximum(1.0, np.maximum(own, both))
        assert case.limit is not None
        hits = np.minimum(first[:, case.suspect], trials)
        unacceptable = case.limit * (case.rho_bad if case.rare else 1.0)
        return _below(mixture.seldom(0.5), unacceptable / size, hits, trials - hits)

    @staticmethod
    def _blind(now: Counts, case: _Case) -> Booleans:
        alerts, answered = now[:, :, at.TOTAL.start + case.event], now[:, :, at.ANSWERED]
        always = (alerts / np.maximum(answered, 1) >= MOST_ALERTS).any(axis=1)
        never = (alerts == 0).all(axis=1) & (answered > 0).all(axis=1)
        return np.asarray(always | never if case.suspect == CHAMPION else always)

    # --- the split ------------------------------------------------------------------------------------------

    def _mismatch(self, now: Counts, streams: Integers) -> Booleans:
        if not len(streams):
            return np.zeros(0, dtype=bool)
        whole, q = now[streams][:, :, at.ENTITIES], self.q[streams]
        since = whole - self.silences.entities[streams]
        told = (since >= 0).all(axis=1) & ~self.breaker.tripped[streams]
        return np.asarray(told & _off(whole, q) & _off(np.maximum(since, 0), q))


def _below(of: mixture.Mixture, null: Floats, hits: Integers, misses: Integers) -> Floats:
    """`of`: the mixture for the null 0.5, whose alternatives are the same shares of each null."""
    shares = np.array(of.alternatives) / 0.5
    null = null[:, None]
    miss = np.log1p(null * (1.0 - shares) / (1.0 - null))
    gains = np.asarray(hits[:, None] * np.log(shares) + misses[:, None] * miss, np.float64)
    return _value(np.array(of.weights), gains)


def _burst_of(events: Integers, bursts: Integers) -> Floats:
    return np.asarray((BURST + events + np.where(bursts > 0, BURST, 0)) / (1.0 + bursts))


def _off(entities: Integers, q: Floats) -> Booleans:
    canary, champion = entities[:, CANARY], entities[:, CHAMPION]
    strength = 100.0
    a, b = strength * q, strength * (1.0 - q)
    log_e = gammaln(a + canary) - gammaln(a) + gammaln(b + champion) - gammaln(b) + math.lgamma(strength)
    log_e -= gammaln(strength + canary + champion) + canary * np.log(q) + champion * np.log1p(-q)
    return np.asarray(log_e >= math.log(1.0 / MISMATCH))
