"""The increments that records add to the counts. Pure: a stretch of the log at a time, before anything is written."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.core.evidence import WINDOW_SECONDS, ArmCounts, Followed, Watch
from serinus.predictions.counts.facts import Arm, Booleans, Facts, Integers
from serinus.predictions.counts.streaks import Streak, streaks
from serinus.predictions.segments.columns import Columns

EVENTS = ("errors", "slow", "fallbacks", "alerts", "missing")
KINDS = (*EVENTS, "entities")
"""The kinds of events of which an entity's first one is counted as well."""
OF_ANSWERS = frozenset({"alerts", "missing"})
"""Events that only answered requests can have."""
TOTALS = ("requests", "answered", "rows", "errors", "slow", "fallbacks", "alerts", "missing")
ASIDE = "aside."
"""The prefix of a cause in the names of what is set aside."""

LIVE = "live:"
"""The prefix that stands for the split where a release is counted under all splits."""

CountKey = tuple[str, str, str]
"""split, release, name"""
HourKey = tuple[int, str, str]
"""hour, release, name"""
MinuteKey = tuple[int, str, str, str]
"""minute, model, release, name"""
TotalKey = tuple[str, str, str]
"""model, release, name"""

_LEAST_MS, _GROWTH = 0.1, 1.1


@dataclass(slots=True)
class Asked:
    """The requests of one arm by entity, without mistakes of the caller."""

    scopes: Mapping[str, str]
    """The scope by `step` and `rollout`."""
    requests: Counter[int] = field(default_factory=Counter)
    """The number of requests by the hash of the entity."""
    answered: Counter[int] = field(default_factory=Counter)
    nameless: Counter[str] = field(default_factory=Counter)
    """The number of `requests` and `answered` without an entity."""

    def of(self, kind: str) -> tuple[Counter[int], int]:
        """Returns the requests that can have such an event: by entity, and those without one."""
        name = "answered" if kind in OF_ANSWERS else "requests"
        return getattr(self, name), self.nameless[name]


@dataclass(slots=True)
class Tally:
    """The increments of a stretch of the log."""

    counts: Counter[CountKey] = field(default_factory=Counter)
    minutes: Counter[MinuteKey] = field(default_factory=Counter)
    totals: Counter[TotalKey] = field(default_factory=Counter)
    streaks: dict[tuple[str, str], Streak] = field(default_factory=dict)
    """Failures since the last answer, by (model, release)."""
    firsts: dict[tuple[str, str], dict[int, CountKey]] = field(default_factory=dict)
    """By (scope, kind) and hash of the entity: the count to increment if the entity is new to the set."""
    asked: dict[tuple[str, str], Asked] = field(default_factory=dict)
    """The requests of watched splits, by (split, release)."""
    window: int = 0
    """The latest window of the watched records."""
    windows: dict[tuple[str, str, str], dict[int, set[int]]] = field(default_factory=dict)
    """The windows in which an entity had an event, by (split, release, kind) and hash of the entity."""

    def add(
        self,
        records: Columns,
        watches: Mapping[str, Watch],
        now: float,
        followed: Mapping[str, Followed] = MappingProxyType({}),
    ) -> None:
        """Adds records.

        `watches` are by split, `followed` by release. `now`, in Unix seconds, limits the times that records may claim.
        """
        if not len(records):
            return
        facts = Facts(records)
        self._add_traffic(facts, now)
        for key, streak in streaks(facts, now):
            self.streaks[key] = self.streaks.get(key, Streak()).followed_by(streak)
        of_split = [_watch_of(arm, watches) for arm in facts.arms]
        of_live = [_live(arm, followed) for arm in facts.arms]
        believed = (facts.time >= now - 3600) & (facts.time <= now + 60)
        window = (np.where(believed, facts.time, now) // WINDOW_SECONDS).astype(np.int64)
        for watch_of_arm in (of_split, of_live):
            if any(watch_of_arm):
                self._add_watched(records, facts, watch_of_arm, window)

    def add_dropped(self, meta: Mapping[str, Any]) -> None:
        """Adds the number of records that a worker has discarded, by the `meta` of a batch's frame."""
        if "dropped" in meta:
            self.totals[meta["model"], meta["release"], "dropped"] += meta["dropped"]

    def _add_traffic(self, facts: Facts, now: float) -> None:
        asked = facts.of_arms([bool(release) for _, _, release in facts.arms])
        for name, where in facts.totals().items():
            for (arm,), count in _grouped(where & asked, facts.arm):
                self.totals[facts.arms[arm].model, facts.arms[arm].release, name] += count
        believed = (facts.time >= now - 3600) & (facts.time <= now + 60)
        minute = (np.where(believed, facts.time, now) // 60).astype(np.int64)
        first = int(minute.min())
        for name, where in (("requests", asked), ("errors", asked & facts.errors)):
            for (at, arm), count in _grouped(where, minute - first, facts.arm):
                self.minutes[first + at, facts.arms[arm].model, facts.arms[arm].release, name] += count
        for (at, arm, number), count in _grouped(asked & ~facts.fault, minute - first, facts.arm, buckets(facts.ms)):
            self.minutes[first + at, facts.arms[arm].model, facts.arms[arm].release, f"ms.{number}"] += count

    def _add_watched(self, records: Columns, facts: Facts, watch_of_arm: list[Watch | None], window: Integers) -> None:
        wanted = facts.of_arms([watch is not None for watch in watch_of_arm])
        watched = wanted & (facts.aside < 0)
        self._add_aside(facts, wanted & ~watched, watch_of_arm)
        slow_ms = [watch.slow_ms if watch else math.inf for watch in watch_of_arm]
        thresholds = [
            watch.thresholds.get(arm.release, math.inf) if watch else math.inf
            for arm, watch in zip(facts.arms, watch_of_arm, strict=True)
        ]
        events = facts.events(records, facts.of_arms(slow_ms), facts.of_arms(thresholds))
        firsts = _Firsts(records, facts, [watch.split if watch else "" for watch in watch_of_arm])
        for name in TOTALS:
            added = np.bincount(facts.arm, events[name] * watched, len(facts.arms))
            for arm in np.flatnonzero(added):
                self.counts[firsts.key(int(arm), name)] += int(added[arm])
        if watched.any():
            self.window = max(self.window, int(window[watched].max()))
        self._add_asked(facts, firsts, events, watched, watch_of_arm)
        scopes: dict[str, list[str]] = {}
        if not any(watch and watch.split.startswith(LIVE) for watch in watch_of_arm):
            scopes = {
                "step": [f"split:{watch.split}" if watch else "" for watch in watch_of_arm],
                "rollout": [f"rollout:{watch.rollout}" if watch else "" for watch in watch_of_arm],
            }
        for kind in KINDS:
            happened = watched & (events[kind] > 0)
            for within, scope_of_arm in scopes.items():
                for key, count in firsts.nameless(happened, f"{within}.{kind}"):
                    self.counts[key] += count
                for scope, entity, key in firsts.named(happened, scope_of_arm, f"{within}.{kind}"):
                    self.firsts.setdefault((scope, kind), {}).setdefault(entity, key)
            if kind in EVENTS:
                for key, count in firsts.nameless(happened, f"window.{kind}"):
                    self.counts[key] += count
                for (split, release, _), entity, number in firsts.in_windows(happened, kind, window):
                    self.windows.setdefault((split, release, kind), {}).setdefault(entity, set()).add(number)

    def _add_aside(self, facts: Facts, where: Booleans, watch_of_arm: list[Watch | None]) -> None:
        """Counts the records that are set aside. They are in no other count of either arm."""
        for (arm, cause), count in _grouped(where, facts.arm, facts.aside):
            watch = watch_of_arm[arm]
            assert watch is not None
            self.counts[watch.split, facts.arms[arm].release, f"{ASIDE}{facts.causes[cause]}"] += count

    def _add_asked(
        self,
        facts: Facts,
        firsts: _Firsts,
        events: Mapping[str, Integers | Booleans],
        watched: Booleans,
        watch_of_arm: list[Watch | None],
    ) -> None:
        for name, where in (("requests", events["entities"]), ("answered", events["answered"])):
            for arm, entity, count in firsts.asked(watched & (where > 0)):
                watch = watch_of_arm[arm]
                assert watch is not None
                key = watch.split, facts.arms[arm].release
                if key not in self.asked:
                    scopes = {"step": f"split:{watch.split}", "rollout": f"rollout:{watch.rollout}"}
                    self.asked[key] = Asked({} if watch.split.startswith(LIVE) else scopes)
                asked = self.asked[key]
                if entity is None:
                    asked.nameless[name] += count
                else:
                    getattr(asked, name)[entity] += count


class _Firsts:
    """The entities of the events in a stretch."""

    def __init__(self, records: Columns, facts: Facts, split_of_arm: list[str]) -> None:
        self._facts = facts
        self._split_of_arm = split_of_arm
        self._entities = list(dict.fromkeys(records.entity))
        number = {entity: place for place, entity in enumerate(self._entities)}
        self._entity = np.fromiter(map(number.__getitem__, records.entity), np.int64, len(records))
        self._is_named = np.array([entity is not None for entity in self._entities])[self._entity]
        self._hashes: dict[int, int] = {}

    def nameless(self, happened: Booleans, name: str) -> Iterator[tuple[CountKey, int]]:
        """Yields the counts of events that count singly."""
        for (arm,), count in _grouped(happened & ~self._is_named, self._facts.arm):
            yield self.key(arm, name), count

    def named(self, happened: Booleans, scope_of_arm: list[str], name: str) -> Iterator[tuple[str, int, CountKey]]:
        """Yields scope, hash and count for the first event of each entity in a scope."""
        places = np.flatnonzero(happened & self._is_named)
        if not places.size:
            return
        scopes = list(dict.fromkeys(scope_of_arm))
        scope = np.array([scopes.index(one) for one in scope_of_arm])[self._facts.arm[places]]
        _, first = np.unique(scope * len(self._entities) + self._entity[places], return_index=True)
        for at, place in zip(scope[first].tolist(), places[first].tolist(), strict=True):
            yield scopes[at], self._hash(int(self._entity[place])), self.key(int(self._facts.arm[place]), name)

    def asked(self, where: Booleans) -> Iterator[tuple[int, int | None, int]]:
        """Yields arm, hash of the entity (None: no entity) and number of requests."""
        for (arm, entity), count in _grouped(where, self._facts.arm, self._entity):
            yield arm, self._hash(entity) if self._entities[entity] is not None else None, count

    def in_windows(self, happened: Booleans, name: str, window: Integers) -> Iterator[tuple[CountKey, int, int]]:
        """Yields key, hash of the entity and window, each once."""
        where = happened & self._is_named
        if where.any():
            first = int(window[where].min())
            for (arm, entity, number), _ in _grouped(where, self._facts.arm, self._entity, window - first):
                yield self.key(arm, name), self._hash(entity), first + number

    def key(self, arm: int, name: str) -> CountKey:
        return self._split_of_arm[arm], self._facts.arms[arm].release, name

    def _hash(self, number: int) -> int:
        if number not in self._hashes:
            self._hashes[number] = entity_hash(self._entities[number] or "")
        return self._hashes[number]


def entity_hash(entity: str) -> int:
    """Returns a signed hash of 64 bits, which is the same in every process."""
    return int.from_bytes(hashlib.blake2b(entity.encode(), digest_size=8).digest(), "big", signed=True)


def arm_counts(release: str, named: Mapping[str, int]) -> ArmCounts:
    """Returns the counts of an arm from the names under which they are stored."""
    totals: dict[str, Any] = {name: named.get(name, 0) for name in TOTALS}
    return ArmCounts(
        release=release,
        **totals,
        first_in_step={kind: named.get(f"step.{kind}", 0) for kind in KINDS},
        first_in_rollout={kind: named.get(f"rollout.{kind}", 0) for kind in KINDS},
        at_risk_in_step=_counted(named, "step.at_risk"),
        at_risk_in_rollout=_counted(named, "rollout.at_risk"),
        first_in_window=_counted(named, "window"),
        at_risk_in_window=_counted(named, "window.at_risk"),
        set_aside={name.removeprefix(ASIDE): count for name, count in named.items() if name.startswith(ASIDE)},
    )


def _counted(named: Mapping[str, int], name: str) -> Mapping[str, int]:
    """Returns the counts of one kind. Empty where they were not counted, as by earlier versions."""
    if not any(f"window.at_risk.{kind}" in named for kind in EVENTS):
        return {}
    return {kind: named.get(f"{name}.{kind}", 0) for kind in EVENTS}


def live_counts(release: str, named: Mapping[str, int]) -> ArmCounts:
    """Returns the counts of a followed release from the names under which they are stored."""
    totals: dict[str, Any] = {name: named.get(name, 0) for name in TOTALS}
    windows, at_risk = (
        {kind: named.get(f"{name}.{kind}", 0) for kind in EVENTS} for name in ("window", "window.at_risk")
    )
    return ArmCounts(release=release, **totals, first_in_window=windows, at_risk_in_window=at_risk)


def squares(named: Mapping[str, int]) -> Mapping[str, int]:
    """Returns the sums of squares from the names under which they are stored."""
    return {kind: named.get(f"square.{kind}", 0) for kind in EVENTS}


def _live(arm: Arm, followed: Mapping[str, Followed]) -> Watch | None:
    one = followed.get(arm.release)
    if one is None or one.model != arm.model:
        return None
    thresholds = {} if one.threshold is None else {one.release: one.threshold}
    return Watch(f"{LIVE}{one.release}", "", one.model, thresholds, one.slow_ms)


def _watch_of(arm: Arm, watches: Mapping[str, Watch]) -> Watch | None:
    """Returns the watch of an arm. A release is counted only under splits of its own model."""
    watch = watches.get(arm.split)
    return watch if watch is not None and arm.release and watch.model == arm.model else None


def _grouped(where: Booleans, *codes: Integers) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yields how often each combination of `codes` (numbered from 0) occurs among the records for which `where` is
    true."""
    chosen = [code[where] for code in codes]
    if not chosen[0].size:
        return
    shape = [int(code.max()) + 1 for code in chosen]
    found, counts = np.unique(np.ravel_multi_index(chosen, shape), return_counts=True)
    combinations = zip(*(code.tolist() for code in np.unravel_index(found, shape)), strict=True)
    yield from zip(combinations, counts.tolist(), strict=True)


# --- latency histogram: buckets that are each a tenth wider than the one before -----------------------------


def buckets(ms: npt.NDArray[np.float64]) -> Integers:
    """Returns the bucket of the latency histogram for each duration in milliseconds."""
    beyond = np.log(np.maximum(ms, _LEAST_MS) / _LEAST_MS) / math.log(_GROWTH)
    return np.where(ms <= _LEAST_MS, 0, 1 + beyond.astype(np.int64))


def quantile(histogram: Mapping[int, int], q: float) -> float | None:
    """Returns a quantile, correct within a tenth of its value. None: nothing was measured."""
    rank = q * sum(histogram.values())
    below = 0
    for number, count in sorted(histogram.items()):
        if below + count >= rank and count:
            within = (rank - below) / count
            return _LEAST_MS * math.pow(_GROWTH, number - 1 + within) if number else _LEAST_MS
        below += count
    return None
