"""What records add to the counts: pure numbers, aggregated before anything is written."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from serinus.backends.delta.records import Record
from serinus.core.values import ArmCounts, Watch

KINDS = ("errors", "slow", "fallbacks", "alerts", "missing", "entities")
"""Of which an entity's first event is counted, too."""
TOTALS = ("requests", "answered", "rows", "errors", "slow", "fallbacks", "alerts", "missing")

CountKey = tuple[str, str, str]
"""split, release, name"""
MinuteKey = tuple[int, str, str, str]
"""minute, model, release, name"""

_LEAST_MS, _GROWTH = 0.1, 1.1


@dataclass(slots=True)
class Tally:
    """What a stretch of the log adds."""

    counts: Counter[CountKey] = field(default_factory=Counter)
    minutes: Counter[MinuteKey] = field(default_factory=Counter)
    firsts: dict[tuple[str, str], dict[int, CountKey]] = field(default_factory=dict)
    """(scope, kind) -> entity's hash -> what to count one up, if the entity is new to the set."""

    def add(self, record: Record, watch: Watch | None, now: float) -> None:
        """`now`, unix seconds, bounds what a record may say of its time."""
        if not record.release:
            return
        self._add_minute(record, now)
        if watch is None or watch.model != record.model:
            return
        found = happenings(record, watch)
        entity = None if record.entity is None else entity_hash(record.entity)
        split, release = watch.split, record.release
        for name, count in found.items():
            if name != "entities":
                self.counts[split, release, name] += count
            if name in KINDS:
                self._add_first((f"split:{split}", name), entity, (split, release, f"step.{name}"))
                self._add_first((f"rollout:{watch.rollout}", name), entity, (split, release, f"rollout.{name}"))

    def _add_first(self, entity_set: tuple[str, str], entity: int | None, key: CountKey) -> None:
        if entity is None:
            self.counts[key] += 1
        else:
            self.firsts.setdefault(entity_set, {}).setdefault(entity, key)

    def _add_minute(self, record: Record, now: float) -> None:
        at = record.time if now - 3600 <= record.time <= now + 60 else now
        key = (int(at // 60), record.model, record.release)
        self.minutes[*key, "requests"] += 1
        if record.callers_fault:
            return
        self.minutes[*key, f"ms.{bucket(record.ms)}"] += 1
        if record.failed:
            self.minutes[*key, "errors"] += 1


def happenings(record: Record, watch: Watch) -> dict[str, int]:
    """What one answered request counts for. The caller's own mistakes are requests and nothing else."""
    found = {"requests": 1}
    if record.callers_fault:
        return found
    found["entities"] = 1
    if record.failed:
        found["errors"] = 1
    if record.fallback:
        found["fallbacks"] = 1
    if record.timed_out or record.ms > watch.slow_ms:
        found["slow"] = 1
    if not record.failed and not record.fallback:
        found |= {"answered": 1, "rows": record.rows}
        if not record.scores or None in record.scores:
            found["missing"] = 1
        threshold = watch.thresholds.get(record.release)
        if threshold is not None and (alerts := alerting(record, threshold)):
            found["alerts"] = alerts
    return found


def alerting(record: Record, threshold: float) -> int:
    """Rows whose score reaches the threshold."""
    return sum(1 for score in record.scores or () if score is not None and score >= threshold)


def entity_hash(entity: str) -> int:
    """64 bits, signed, the same in every process."""
    return int.from_bytes(hashlib.blake2b(entity.encode(), digest_size=8).digest(), "big", signed=True)


def arm_counts(release: str, named: Mapping[str, int]) -> ArmCounts:
    """From the names under which they are stored."""
    return ArmCounts(
        release=release,
        **{name: named.get(name, 0) for name in TOTALS},
        first_in_step={kind: named.get(f"step.{kind}", 0) for kind in KINDS},
        first_in_rollout={kind: named.get(f"rollout.{kind}", 0) for kind in KINDS},
    )


# --- latency histogram: buckets that are each a tenth wider than the one before -----------------------------


def bucket(ms: float) -> int:
    return 0 if ms <= _LEAST_MS else 1 + int(math.log(ms / _LEAST_MS) / math.log(_GROWTH))


def quantile(histogram: Mapping[int, int], q: float) -> float | None:
    """Within a tenth of the true one; None where nothing was measured."""
    rank = q * sum(histogram.values())
    below = 0
    for number, count in sorted(histogram.items()):
        if below + count >= rank and count:
            within = (rank - below) / count
            return _LEAST_MS * math.pow(_GROWTH, number - 1 + within) if number else _LEAST_MS
        below += count
    return None
