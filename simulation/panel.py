"""The judge once more, for many streams at once: `serinus.judge.assess` in arrays, without words.

It exists because 2,000 streams of each kind, looked at twice a second, would take `assess` days. It is a second
implementation, and no evidence by itself: `simulation.run` hands streams of every kind to `assess` as well, and both
must agree at every look on the verdict and on every e-value. Simulated callers make no mistakes, so that nothing is
refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serinus.core.routing import WHOLE, Role
from serinus.judge import bounded, breaker, metrics, mixture
from serinus.judge.assess import AS_ONE, MISMATCH, WARM_UP, WARM_UP_SHARE
from serinus.judge.metrics import METRICS, tolerance_of
from simulation import counts as at
from simulation.counts import Counts
from simulation.kinds import CANARY, CHAMPION, EVENTS, Kind
from simulation.parts import Bounded, Levels, Restarting, Silences

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

GOES_ON, ABORTED, PASSED = 0, 1, 2
_lgamma = np.frompyfunc(math.lgamma, 1, 1)


def _share(q: Floats, ratio: Floats | float) -> Floats:
    return np.asarray(q * ratio / (q * ratio + 1.0 - q))


def _gains(null: Floats, alternatives: Floats, hits: Integers, misses: Integers) -> Floats:
    hit = np.log(alternatives / null[..., None])
    miss = np.log1p((null[..., None] - alternatives) / (1.0 - null[..., None]))
    return np.asarray(hits[..., None] * hit + misses[..., None] * miss)


def _log_value(weights: Floats, gains: Floats) -> Floats:
    logs = np.log(weights) + gains
    top = logs.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log(np.exp(logs - top).sum(axis=-1)))


@dataclass
class Seen:
    """Of one look: verdicts, and the logs of the e-values by stream and metric."""

    verdict: Integers
    log_bad: Floats
    log_good: Floats
    tripped: Booleans


class Panel:
    """Streams of one kind, each at a step of its own."""

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind, self.number = kind, number
        policy = kind.policy
        self.metrics = [metric for metric in METRICS if tolerance_of(metric, policy) is not None]
        tolerances = [tolerance_of(metric, policy) for metric in self.metrics]
        self.names = [metric.name for metric in self.metrics]
        self.rho_ok = np.array([one.rho_ok for one in tolerances if one])
        self.rho_bad = np.array([one.rho_bad for one in tolerances if one])
        limits = [
            metric.limit if one is None or one.budget is None else one.budget
            for metric, one in zip(self.metrics, tolerances, strict=True)
        ]
        self.limit = np.array([math.nan if limit is None else limit for limit in limits])
        self.rare = np.array([metric.rare for metric in self.metrics])
        self.event = np.array([EVENTS.index(metric.event) for metric in self.metrics])
        self.suspect = np.array([CANARY if metric.suspect is Role.CANARY else CHAMPION for metric in self.metrics])
        self.answers = np.array([metric.needs_answer for metric in self.metrics])
        self.warms_up = np.array([metric.warms_up for metric in self.metrics])
        self.alerts = np.array([metric.event == "alerts" for metric in self.metrics])

        shape = (number, len(self.metrics), len(mixture.MULTIPLIERS))
        self.step = np.zeros(number, np.int64)
        self.history = np.zeros((number, 2, at.PLACES), np.int64)
        """Sum over the steps before."""
        self.taken = np.zeros((number, 2, at.PLACES), np.int64)
        self.looked = np.zeros(number)
        self.carried = np.zeros(shape)
        self.restarting = Restarting(shape[:2])
        self.better = np.zeros((*shape[:2], shape[2] + 1))
        self.bounded = Bounded(shape[:2])
        self.levels = Levels((*shape[:2], 2))
        self.silences = Silences(number)
        self.closed = np.zeros((number, 4), np.int64)
        """Asked and answered, of the canary and of the champion, at the last window that the breaker has closed."""
        self.closed_at = np.zeros(number)
        self.bad_seconds = np.zeros(number)
        self.bad_requests = np.zeros(number, np.int64)
        self.tripped = np.zeros(number, dtype=bool)
        self.weights = np.array([step.weight for step in kind.steps])
        self.minimum_requests = np.array([step.minimum_requests for step in kind.steps])
        self.minimum_seconds = np.array([step.minimum_seconds for step in kind.steps])

    @property
    def q(self) -> Floats:
        return np.asarray(self.weights[self.step] / WHOLE)

    def begin_step(self, streams: Integers, last: Counts) -> None:
        """`last`: the counts with which the step before has ended."""
        self.step[streams] += 1
        self.history[streams] += last
        self.taken[streams] = 0
        self.looked[streams] = self.closed_at[streams] = 0.0
        for part in (self.restarting, self.bounded, self.levels, self.silences):
            part.begin_step(streams)
        self.better[streams] = 0.0
        self.closed[streams] = 0

    def look(self, now: Counts, elapsed: Floats, active: Booleans) -> Seen:
        """`now`: [stream, arm, place], since the step began. What is not `active` stays as it is."""
        requests = now[:, :, at.REQUESTS]
        self.silences.add(active, requests, now[:, :, at.ENTITIES], elapsed, self.q)
        active = (
            active & (requests > 0).all(axis=1) & (now[..., at.REQUESTS] >= self.taken[..., at.REQUESTS]).all(axis=1)
        )
        taken = active & self._of_one_time(requests)
        self._remember(now, elapsed, taken)
        self._break(now, elapsed, active)
        self.taken[taken], self.looked[taken] = now[taken], elapsed[taken]
        log_bad = self._log_bad(self.carried, self.restarting.logs)
        starved = self._log_bad(*self.bounded.whole())
        log_good = self._log_good(now)
        policy = self.kind.policy
        bound = math.log(policy.metrics_for_alpha / policy.alpha)
        reaches = log_bad >= bound
        bad = reaches & ((starved >= bound) | self.tripped[:, None])
        cleared = log_good >= math.log(1.0 / policy.beta)
        mismatch = self._mismatch(now) & ~self.tripped
        minimums = (now[:, CANARY, at.ANSWERED] >= self.minimum_requests[self.step]) & (
            elapsed >= self.minimum_seconds[self.step]
        )
        passed = minimums & cleared.all(axis=1) & ~bad.any(axis=1) & ~self.tripped & ~mismatch
        verdict = np.where(bad.any(axis=1) & ~mismatch, ABORTED, np.where(passed, PASSED, GOES_ON))
        return Seen(np.where(active, verdict, GOES_ON), log_bad, log_good, self.tripped.copy())

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

    def _of(self, arms: Integers, places: slice) -> tuple[Integers, Integers]:
        """Of the suspect and of the other arm, by metric."""
        chosen = arms[:, :, places][:, :, self.event]
        which = np.arange(len(self.event))
        return chosen[:, self.suspect, which], chosen[:, 1 - self.suspect, which]

    def _remember(self, now: Counts, elapsed: Floats, taken: Booleans) -> None:
        new = now - self.taken
        warm_up = np.minimum(WARM_UP, self.minimum_seconds[self.step] * WARM_UP_SHARE)
        useful = taken[:, None] & ~(self.warms_up & (elapsed < warm_up)[:, None])
        in_step = self._tells(new, at.STEP, at.AT_RISK_STEP)
        in_rollout = self._tells(new, at.ROLLOUT, at.AT_RISK_ROLLOUT)
        in_window = self._tells(new, at.WINDOW, at.AT_RISK_WINDOW)
        run_out = self._run_out(new)
        departs = self._levels(new, elapsed - self.looked, taken)
        gains, tells, _ = self._against(in_rollout)
        carried = np.where((useful & tells)[..., None], gains, 0.0)
        self.carried += carried
        gains, tells, events = self._against(in_step)
        tells = useful & tells
        restarting, events = np.where(tells[..., None], gains, 0.0), np.where(tells, events, 0)
        self.restarting.add(restarting, events)
        void = (departs[..., CHAMPION] & (self.suspect == CHAMPION))[..., None]
        carried, restarting = (np.where(void, np.minimum(one, 0.0), one) for one in (carried, restarting))
        policy = self.kind.policy
        windows = bounded.WINDOWS + self.silences.longest / bounded.SECONDS
        most = math.log(policy.metrics_for_alpha / policy.alpha) / windows
        seconds = elapsed - self.looked - 2.0 * self.silences.longest
        self.bounded.add(useful, carried, restarting, events, (elapsed, seconds), most)
        again = tuple(np.where(run_out, window, step) for window, step in zip(in_window, in_step, strict=True))
        hits, misses, share = again
        tells = (share > 0.0) & (share < 1.0)
        inside = np.where(tells, share, 0.5)
        null = _share(inside, self.rho_bad)
        rest = [_share(inside, self.rho_bad / one) for one in mixture.MULTIPLIERS]
        good = _gains(null, np.stack([_share(inside, 1.0), *rest], axis=-1), hits, misses)
        departs = np.where(self.suspect == CANARY, departs[..., CHAMPION], departs[..., CANARY])
        good = np.where(departs[..., None], np.minimum(good, 0.0), good)
        self.better += np.where((useful & tells)[..., None], good, 0.0)

    def _levels(self, new: Counts, seconds: Floats, taken: Booleans) -> Booleans:
        """[stream, metric, arm]: whether it departs from its level."""
        events = np.moveaxis(new[:, :, at.TOTAL][:, :, self.event], 1, 2)
        by_request = new[:, :, at.REQUESTS] - self._refused(new)
        trials = np.where(self.answers[:, None], new[:, None, :, at.ANSWERED], by_request[:, None])
        told = np.broadcast_to((taken[:, None] & ~self.rare)[..., None], events.shape)
        self.levels.add(told, events, trials, np.asarray(seconds[:, None, None]))
        good = np.where(self.suspect == CANARY, self.levels.sank[..., CHAMPION], self.levels.sank[..., CANARY])
        void = (taken[:, None] & ~self.rare & good)[..., None]
        self.better = np.where(void, np.minimum(self.better, 0.0), self.better)
        return self.levels.departs

    def _tells(self, new: Counts, first: slice, risk: slice) -> tuple[Integers, Integers, Floats]:
        hits, misses = self._of(new, first)
        ours, theirs = self._of(new, risk)
        total = ours + theirs
        return hits, misses, np.where(total > 0, ours / np.maximum(total, 1), 0.0)

    def _against(self, firsts: tuple[Integers, Integers, Floats]) -> tuple[Floats, Booleans, Integers]:
        hits, misses, share = firsts
        tells = (share > 0.0) & (share < 1.0)
        inside = np.where(tells, share, 0.5)
        alternatives = np.stack([_share(inside, self.rho_ok * one) for one in mixture.MULTIPLIERS], axis=-1)
        return _gains(_share(inside, self.rho_ok), alternatives, hits, misses), tells, hits + misses

    def _run_out(self, new: Counts) -> Booleans:
        from serinus.judge.evidence import DEPLETED

        found = np.zeros((self.number, len(self.event)), dtype=bool)
        for risk, trials in zip(self._of(new, at.AT_RISK_STEP), self._trials(new), strict=True):
            found |= risk < DEPLETED * trials
        return found

    def _trials(self, counts: Counts) -> tuple[Integers, Integers]:
        by_request = counts[:, :, at.REQUESTS] - self._refused(counts)
        both = np.where(self.answers, counts[:, :, at.ANSWERED][..., None], by_request[..., None])
        which = np.arange(len(self.event))
        return both[:, self.suspect, which], both[:, 1 - self.suspect, which]

    @staticmethod
    def _refused(counts: Counts) -> Integers:
        failed = counts[:, :, at.TOTAL.start] + counts[:, :, at.TOTAL.start + 2]
        return np.maximum(0, counts[:, :, at.REQUESTS] - counts[:, :, at.ANSWERED] - failed)

    def _log_bad(self, carried: Floats, logs: Floats) -> Floats:
        even = np.full(len(mixture.MULTIPLIERS), 1.0 / len(mixture.MULTIPLIERS))
        restarting = _log_value(even, logs) - math.log(len(self.kind.steps))
        return np.asarray(np.logaddexp(_log_value(even, carried), restarting) - math.log(2.0))

    def _log_good(self, now: Counts) -> Floats:
        trials = self._trials(now)[0]
        bad = np.minimum(self._of(now, at.TOTAL)[0], trials)
        by_limit = self._below(mixture.below, self.limit, bad, trials - bad)
        by_limit = np.where(
            (self.step == len(self.weights) - 1)[:, None], np.minimum(by_limit, self._by_bursts(now)), by_limit
        )
        ends = mixture.better(0.5, 2.0).weights
        by_ratio = _log_value(np.array(ends), self.better)
        unlimited = np.isnan(self.limit)
        both = np.logaddexp(np.where(unlimited, -np.inf, by_limit), by_ratio) - math.log(2.0)
        both = np.where(unlimited, by_ratio, both)
        return np.where(self._blind(now), -np.inf, np.where(self.rare, by_limit, both))

    def _below(self, of: Callable[[float], mixture.Mixture], null: Floats, hits: Integers, misses: Integers) -> Floats:
        null, mix = np.broadcast_to(null, hits.shape), of(0.5)
        alternatives = np.stack([null * (one / 0.5) for one in mix.alternatives], axis=-1)
        return _log_value(np.array(mix.weights), _gains(null, alternatives, hits, misses))

    def _by_bursts(self, now: Counts) -> Floats:
        whole = self.history + now
        trials = self._trials(whole)[0]
        first, others = self._of(whole, at.ROLLOUT)
        events, of_others = self._of(whole, at.TOTAL)
        own = self._burst_of(events, first)
        size = np.maximum(1.0, np.maximum(own, self._burst_of(events + of_others, first + others)))
        unacceptable = self.limit * np.where(self.rare, self.rho_bad, 1.0)
        hits = np.minimum(first, trials)
        return self._below(mixture.seldom, unacceptable / size, hits, trials - hits)

    @staticmethod
    def _burst_of(events: Integers, bursts: Integers) -> Floats:
        return np.asarray((metrics.BURST + events + np.where(bursts > 0, metrics.BURST, 0)) / (1.0 + bursts))

    def _blind(self, now: Counts) -> Booleans:
        alerts, answered = now[:, :, at.TOTAL.start + EVENTS.index("alerts")], now[:, :, at.ANSWERED]
        rates = alerts / np.maximum(answered, 1)
        always = np.asarray((rates >= metrics.MOST_ALERTS).any(axis=1))
        never = np.asarray((alerts == 0).all(axis=1) & (answered > 0).all(axis=1))
        return np.asarray(self.alerts & (always[:, None] | (never[:, None] & (self.suspect == CHAMPION))))

    def _break(self, now: Counts, elapsed: Floats, active: Booleans) -> None:
        asked = now[:, :, at.REQUESTS] - self._refused(now)
        present = np.stack(
            [asked[:, CANARY], now[:, CANARY, at.ANSWERED], asked[:, CHAMPION], now[:, CHAMPION, at.ANSWERED]], axis=1
        )
        new = present - self.closed
        seconds = elapsed - self.closed_at
        closes = active & ~self.tripped & (seconds >= breaker.SECONDS)
        closes &= (new[:, 0] >= breaker.LEAST_REQUESTS) & (new[:, 2] >= breaker.LEAST_REQUESTS)
        bad = (new[:, 1] < breaker.CANARY_ANSWERS * new[:, 0]) & (new[:, 3] > breaker.CHAMPION_ANSWERS * new[:, 2])
        bad_seconds = np.where(bad, self.bad_seconds + np.minimum(seconds, breaker.LONGEST), 0.0)
        self.bad_seconds = np.where(closes, bad_seconds, self.bad_seconds)
        self.bad_requests = np.where(closes, np.where(bad, self.bad_requests + new[:, 0], 0), self.bad_requests)
        self.closed = np.where(closes[:, None], present, self.closed)
        self.closed_at = np.where(closes, elapsed, self.closed_at)
        enough = self.bad_seconds >= breaker.WINDOWS * breaker.SECONDS + self.silences.longest
        enough &= self.bad_requests >= breaker.LEAST_IN_ALL
        self.tripped |= closes & enough

    def _mismatch(self, now: Counts) -> Booleans:
        whole = now[:, :, at.ENTITIES]
        since = whole - self.silences.entities
        told = (since >= 0).all(axis=1)
        return np.asarray(told & self._off(whole) & self._off(np.maximum(since, 0)))

    def _off(self, entities: Integers) -> Booleans:
        canary, champion = entities[:, CANARY], entities[:, CHAMPION]
        q, strength = self.q, 100.0
        a, b = strength * q, strength * (1.0 - q)
        log_e = (
            _lgamma(a + canary) - _lgamma(a) + _lgamma(b + champion) - _lgamma(b)
            - _lgamma(strength + canary + champion) + math.lgamma(strength)
        ).astype(float) - canary * np.log(q) - champion * np.log1p(-q)  # fmt: skip
        return np.asarray(log_e >= math.log(1.0 / MISMATCH))
