"""A prediction log in memory: every request is kept, and whatever is asked is found by going through all of them."""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from serinus.core.disturbance import Cause, Disturbance
from serinus.core.errors import InvalidInput, NotFound, Refused
from serinus.core.evidence import WINDOW_SECONDS, ArmCounts, Followed, HourCounts, Totals, Traffic, Watch
from serinus.core.predictions import AnsweredRequest, Imported, Label, Labels, Mark, OutcomeDay, OutcomeMatches
from serinus.predictions.counts.counting import EVENTS, KINDS, OF_ANSWERS, arm_counts, live_counts
from serinus.predictions.table.delta import COLUMNS

Scope = tuple[str, ...]


@dataclass(slots=True)
class Answered:
    """One request. `aside`: the cause for which it is not counted."""

    at: datetime
    release: str
    split: str
    id: str
    role: str = "champion"
    status: int = 200
    ms: float = 2.0
    rows: int = 1
    scores: Sequence[float | None] | None = (0.5,)
    answers: Sequence[float | None] | None = None
    entity: str | None = None
    error: str | None = None
    fallback: int = 0
    cached: int = 0
    columns: Sequence[str] | None = None
    inputs: str | None = None
    prediction: str = ""
    caller: str = ""
    aside: str | None = None

    @property
    def model(self) -> str:
        return self.release.rsplit("-", 2)[0]

    @property
    def fault(self) -> bool:
        return 400 <= self.status < 500

    @property
    def failed(self) -> bool:
        return not self.fault and (self.status >= 500 or bool(self.fallback and self.error))

    def events(self, threshold: float | None, slow_ms: float) -> Mapping[str, int]:
        """How often each thing that is counted happened in it."""
        answered = not (self.fault or self.failed or self.fallback)
        alerts = [one for one in self.scores or () if threshold is not None and one is not None and one >= threshold]
        lacks = self.scores is None or None in self.scores
        return {
            "requests": 1,
            "answered": answered,
            "rows": self.rows * answered,
            "errors": self.failed,
            "slow": not self.fault and (self.ms > slow_ms or self.error == "timeout"),
            "fallbacks": not self.fault and self.fallback,
            "alerts": len(alerts) * answered,
            "missing": lacks and answered,
            "entities": not self.fault,
        }


@dataclass
class MemoryLog:
    """The PredictionLog port; `answer` has it hear of a request."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    watches: dict[str, Watch] = field(default_factory=dict)
    follows: dict[str, Followed] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    requests: list[Answered] = field(default_factory=list)
    disturbances: dict[int, Disturbance] = field(default_factory=dict)
    """Those that go on."""
    labels: dict[tuple[str, str, str, str], Label] = field(default_factory=dict)
    staged: dict[str, dict[int, Labels]] = field(default_factory=dict)
    changes: int = 0
    """Of labels."""

    def answer(self, release: str, split: str, **said: Any) -> None:
        """As in a worker's record."""
        at = datetime.fromtimestamp(said.pop("t"), UTC) if "t" in said else self.now()
        request = Answered(at, release, split, said.pop("id", None) or secrets.token_hex(8), **said)
        disturbance = self.disturbance(request.model)
        request.aside = disturbance.cause.value if disturbance is not None else None
        self.requests.append(request)

    # --- what the platform causes: `begin` and `end` as of a journal

    def begin(self, cause: Cause, model: str = "") -> int:
        number = len(self.disturbances)
        self.disturbances[number] = Disturbance(cause, self.now().timestamp(), None, model)
        return number

    def end(self, number: int) -> None:
        del self.disturbances[number]

    def disturbance(self, model: str) -> Disturbance | None:
        return next((one for one in self.disturbances.values() if one.concerns(model)), None)

    # --- counts

    def watch(self, watch: Watch) -> None:
        if self.watches.setdefault(watch.split, watch) != watch:
            raise Refused(f"split {watch.split} is already watched with other thresholds or for another rollout.")

    def counts(self, split: str) -> Mapping[str, ArmCounts] | None:
        return self.counts_of_all((split,)).get(split)

    def counts_of_all(self, splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        return {split: self._counted(self.watches[split]) for split in splits if split in self.watches}

    def _counted(self, watch: Watch) -> Mapping[str, ArmCounts]:
        mine = [one for one in self.requests if one.split == watch.split and one.model == watch.model]
        scopes = {"step": ("step", watch.split), "rollout": ("rollout", watch.rollout)}
        named = _named(mine, scopes, lambda release: (watch.thresholds.get(release), watch.slow_ms))
        return {release: arm_counts(release, names) for release, names in named.items()}

    def follow(self, followed: Followed) -> None:
        self.follows[followed.release] = followed

    def followed(self) -> Mapping[str, ArmCounts] | None:
        named = _named([one for one in self.requests if one.release in self.follows], {}, self._limits)
        return {release: live_counts(release, names) for release, names in named.items()}

    def hours(self, releases: Collection[str], since: datetime) -> Sequence[HourCounts]:
        first = int(since.timestamp() // 3600)
        mine = [one for one in self.requests if one.release in self.follows and one.release in releases]
        found = []
        for hour in sorted({int(one.at.timestamp() // 3600) for one in mine}):
            named = _named([one for one in mine if int(one.at.timestamp() // 3600) == hour], {}, self._limits)
            found += [HourCounts(hour, live_counts(release, names)) for release, names in named.items()]
        return [one for one in found if one.hour >= first]

    def _limits(self, release: str) -> tuple[float | None, float]:
        return self.follows[release].threshold, self.follows[release].slow_ms

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        since = self.now() - timedelta(seconds=seconds)
        by_release: dict[str, list[Answered]] = {}
        for one in self.requests:
            if one.model == model and one.at >= since:
                by_release.setdefault(one.release, []).append(one)
        return {release: _traffic(release, found, seconds) for release, found in by_release.items()}

    def traffic_of_all(self, seconds: float) -> Mapping[str, Mapping[str, Traffic]]:
        found = {one.model: self.traffic(one.model, seconds) for one in self.requests}
        return {model: traffic for model, traffic in found.items() if traffic}

    def totals(self) -> Mapping[str, Totals]:
        named: dict[str, Counter[str]] = {}
        for one in self.requests:
            counted = {"requests": 1, "errors": one.failed, "fallbacks": one.fallback, "cached": one.cached}
            named.setdefault(one.release, Counter()).update(counted)
        return {release: Totals(release, release.rsplit("-", 2)[0], **counts) for release, counts in named.items()}

    def warnings(self) -> Sequence[str]:
        return []

    def retain(self, model: str, days: int) -> None:
        if days < 1:
            raise InvalidInput(f"retention of {model}: {days} days.")
        self.kept[model] = days

    # --- requests

    def sample(
        self, releases: Collection[str], after: Mark | None, most: int
    ) -> tuple[Mark, Sequence[AnsweredRequest]]:
        start = after[1] if after is not None else 0
        found: dict[str, list[AnsweredRequest]] = {}
        for one in self.requests[start:]:
            usable = one.status == 200 and not one.fallback and one.error is None and one.inputs and one.scores
            if one.release in releases and usable and len(found.setdefault(one.release, [])) < most:
                columns = None if one.columns is None else tuple(one.columns)
                rows = json.loads(one.inputs or "[]")
                found[one.release].append(AnsweredRequest(one.release, columns, rows, list(one.scores or ())))
        return (1, len(self.requests)), [request for some in found.values() for request in some]

    def rows(
        self, model: str, columns: Sequence[str], since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[pl.DataFrame]:
        if not set(columns) <= set(COLUMNS):
            raise InvalidInput(f"The prediction log has no column {min(set(columns) - set(COLUMNS))}.")
        mine = [one for one in self.requests if one.model == model]
        mine = [one for one in mine if (since is None or one.at >= since) and (until is None or one.at < until)]
        for one in sorted(mine, key=lambda one: one.at):
            yield pl.DataFrame([_row(one)], schema=dict(COLUMNS)).select(columns)

    # --- outcomes

    def label(self, labels: Iterable[Label]) -> int:
        changed = 0
        for one in labels:
            key = one.prediction_id, one.request_id, one.caller, one.release
            held = self.labels.get(key)
            if held is None or (one.observed_at >= held.observed_at and one != held):
                self.labels[key] = one
                changed += 1
        self.changes += changed
        return changed

    def stage(self, import_id: str, number: int, part: Labels) -> None:
        if not re.fullmatch("[0-9a-f]{32}", import_id):
            raise InvalidInput("the id of an import of outcomes has 32 hexadecimal digits")
        self.staged.setdefault(import_id, {})[number] = part

    def attach(self, import_id: str) -> Imported:
        if import_id not in self.staged:
            raise NotFound("no such import of outcomes")
        last: dict[tuple[str, str, str, str], Label] = {}
        for _, part in sorted(self.staged.pop(import_id).items()):
            for row in zip(*(getattr(part, name) for name in Label.__slots__), strict=True):
                one = Label(*row)
                key = one.prediction_id, one.request_id, one.caller, one.release
                if key not in last or one.observed_at >= last[key].observed_at:
                    last[key] = one
        changed = self.label(last.values())
        met = [self._meant(one) for one in last.values()]
        return Imported(len(last), changed, sum(not one for one in met), sum(_several(one) for one in met))

    def discard(self, import_id: str) -> None:
        self.staged.pop(import_id, None)

    def matches(self) -> OutcomeMatches:
        met = [self._meant(one) for one in self.labels.values()]
        return OutcomeMatches(len(met), sum(not one for one in met), sum(_several(one) for one in met))

    def outcomes_mark(self) -> str:
        return str(self.changes or "")

    def outcome_days(self, thresholds: Mapping[str, float]) -> Sequence[OutcomeDay]:
        found: dict[tuple[Any, str], Counter[str]] = {}
        for label, one in self._labelled():
            if one.release in thresholds and one.role == "champion" and one.status == 200 and not one.fallback:
                scores = [score for score in one.scores or () if score is not None]
                alert, fraud = any(score >= thresholds[one.release] for score in scores), label.label == 1.0
                counted = {"labelled": 1, "frauds": fraud, "alerts": alert, "caught": alert and fraud}
                found.setdefault((one.at.date(), one.release), Counter()).update(counted)
        return [OutcomeDay(release, day, **counts) for (day, release), counts in sorted(found.items())]

    def _labelled(self) -> Iterable[tuple[Label, Answered]]:
        """Each request with the outcome that was observed last of those that are of it alone."""
        last: dict[int, tuple[Label, Answered]] = {}
        for label in sorted(self.labels.values(), key=lambda one: one.observed_at):
            meant = self._meant(label)
            if meant and not _several(meant):
                last |= {id(one): (label, one) for one in meant}
        return last.values()

    def _meant(self, label: Label) -> Sequence[Answered]:
        said = {"prediction": label.prediction_id, "id": label.request_id}
        said |= {"caller": label.caller, "release": label.release}
        wanted = {name: value for name, value in said.items() if value}
        return [one for one in self.requests if all(getattr(one, name) == wanted[name] for name in wanted)]


def _several(requests: Sequence[Answered]) -> bool:
    """Of one model."""
    return max(Counter(one.model for one in requests).values(), default=0) > 1


def _named(
    requests: Iterable[Answered],
    scopes: Mapping[str, Scope],
    limits: Callable[[str], tuple[float | None, float]],
) -> Mapping[str, Mapping[str, int]]:
    """Release -> counts, by the names under which the collector keeps them. `limits`: of a release's alerts and slow
    answers."""
    found: dict[str, Counter[str]] = {}
    had: set[tuple[object, ...]] = set()
    for one in requests:
        names = found.setdefault(one.release, Counter())
        if one.aside is not None:
            names[f"aside.{one.aside}"] += 1
            continue
        events = one.events(*limits(one.release))
        names.update({name: count for name, count in events.items() if name != "entities"})
        minute = int(one.at.timestamp() // WINDOW_SECONDS)
        for kind in KINDS:
            for name, scope in {**scopes, "window": ("window", one.release, minute)}.items():
                key = (*scope, kind, one.entity)
                new = one.entity is None or key not in had
                could = events["answered"] if kind in OF_ANSWERS else not one.fault
                if kind in EVENTS and could and new:
                    names[f"{name}.at_risk.{kind}"] += 1
                if events[kind] and new:
                    names[f"{name}.{kind}"] += 1
                    had.add(key)
    return found


def _traffic(release: str, requests: Sequence[Answered], seconds: float) -> Traffic:
    taken = [one.ms for one in requests if not one.fault]
    p50, p99 = (float(np.quantile(taken, share)) if taken else None for share in (0.5, 0.99))
    return Traffic(release, len(requests), seconds, sum(one.failed for one in requests), p50, p99)


def _row(one: Answered) -> Mapping[str, Any]:
    """Of the table."""
    inputs = one.inputs
    if inputs is not None and one.columns is not None:
        inputs = json.dumps([dict(zip(one.columns, row, strict=True)) for row in json.loads(inputs)])
    return {
        "time": one.at,
        "day": one.at.date(),
        "latency_ms": one.ms,
        "model": one.model,
        "request_id": one.id,
        "prediction_id": one.prediction or None,
        "set_aside": one.aside,
        "inputs": inputs,
        "answers": one.scores if one.answers is None else one.answers,
        "fallback": bool(one.fallback),
        "cached": bool(one.cached),
        **{name: getattr(one, name) for name in ("release", "role", "split", "entity", "status", "rows", "scores")},
        **{name: getattr(one, name) for name in ("error", "caller")},
    }
