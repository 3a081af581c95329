"""Facts about records, as one NumPy array for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serinus.predictions.segments.columns import Columns, Numbers

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Arm(NamedTuple):
    """The key under which requests are counted together."""

    split: str
    model: str
    release: str


class Facts:
    """Arrays with one item for each record."""

    def __init__(self, records: Columns) -> None:
        keys = list(zip(records.split, records.model, records.release, strict=True))
        number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        self.arms = [Arm(*key) for key in number]
        self.arm: Integers = np.fromiter(map(number.__getitem__, keys), np.int64, len(records))
        """The index in `arms`."""
        self.time: Floats = np.array(records.time, dtype=np.float64)
        self.ms: Floats = np.array(records.ms, dtype=np.float64)
        self._status: Integers = np.array(records.status, dtype=np.int64)
        self._fallback: Booleans = np.array(records.fallback, dtype=np.bool_)
        self._cached: Booleans = np.array(records.cached, dtype=np.bool_)
        self.causes: list[str] = sorted({cause for cause in records.set_aside if cause is not None})
        """The causes for which requests were set aside."""
        number_of: dict[str | None, int] = {None: -1, **{cause: place for place, cause in enumerate(self.causes)}}
        self.aside: Integers = np.fromiter(map(number_of.__getitem__, records.set_aside), np.int64, len(records))
        """The index in `causes`, or -1 if the request is counted."""
        self._failed_within = _where(records.error, lambda error: error is not None)
        self.fault: Booleans = (self._status >= 400) & (self._status < 500)
        """The caller's own mistakes, which count as requests and as nothing else."""
        self.errors: Booleans = ~self.fault & ((self._status >= 500) | (self._fallback & self._failed_within))
        """Failures, and fallbacks that hide one."""

    def of_arms(self, values: Sequence[Any]) -> npt.NDArray[Any]:
        """Expands one value for each arm to one for each record."""
        return np.array(values)[self.arm]

    def totals(self) -> Mapping[str, Booleans]:
        """Returns which records count for each total."""
        return {
            "requests": np.ones_like(self.fault),
            "errors": self.errors,
            "fallbacks": self._fallback & ~self.fault,
            "cached": self._cached,
        }

    def events(self, records: Columns, slow_ms: Floats, thresholds: Floats) -> Mapping[str, Integers | Booleans]:
        """Returns how often each event of a watch happened in each record. `alerts` and `rows` may be more than
        once."""
        answered = ~self.fault & ~self.errors & ~self._fallback
        timed_out = (self._status == 504) | _where(records.error, lambda error: error == "timeout")
        alerts, missing = _look_at(records.scores, thresholds)
        return {
            "requests": np.ones_like(answered),
            "entities": ~self.fault,
            "answered": answered,
            "rows": np.array(records.rows, dtype=np.int64) * answered,
            "errors": self.errors,
            "slow": ~self.fault & (timed_out | (self.ms > slow_ms)),
            "fallbacks": ~self.fault & self._fallback,
            "alerts": alerts * answered,
            "missing": missing & answered,
        }


def _where(errors: Sequence[str | None], holds: Callable[[str | None], bool]) -> Booleans:
    """Returns where the predicate holds. It is called once for each kind of error, because these are few."""
    kinds = {error: holds(error) for error in set(errors)}
    return np.fromiter(map(kinds.__getitem__, errors), np.bool_, len(errors))


def _look_at(scores: Sequence[Numbers], thresholds: Floats) -> tuple[Integers, Booleans]:
    """Returns the number of rows whose score reaches the record's threshold, and whether a record lacks a score.

    Records of a model without scores have an empty list and lack nothing.
    """
    lengths = np.fromiter((len(one) if one else 0 for one in scores), np.int64, len(scores))
    flat = np.array(list(chain.from_iterable(filter(None, scores))), dtype=np.float64)
    place = np.repeat(np.arange(len(scores)), lengths)
    alerts = np.bincount(place, flat >= thresholds[place], len(scores)).astype(np.int64)
    gaps = np.bincount(place, ~np.isfinite(flat), len(scores))
    absent = np.fromiter((one is None for one in scores), np.bool_, len(scores))
    return alerts, absent | (gaps > 0)
