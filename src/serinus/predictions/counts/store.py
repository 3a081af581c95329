"""The engine's side of counts.db: it writes what to watch and how long to keep records, and reads the counts."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, func, insert, select

from serinus.core.errors import InvalidInput, Refused
from serinus.core.evidence import ArmCounts, Followed, HourCounts, Streak, Totals, Traffic, Watch
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import LIVE, arm_counts, live_counts, quantile, squares
from serinus.predictions.database import Database

DEFAULT_DAYS = 90
"""How many days predictions are kept by default."""


_AFTER_LIVE = LIVE[:-1] + chr(ord(LIVE[-1]) + 1)
"""A text that sorts after every text that begins with `LIVE`."""


class CountStore:
    """Reads the counts and writes the watches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def watch(self, watch: Watch) -> None:
        """Stores a watch. A repeated call changes nothing. Raises Refused for a different watch of the same split."""
        with self._database.write() as connection:
            row = connection.execute(select(db.watches).where(db.watches.c.split == watch.split)).one_or_none()
            if row is None:
                connection.execute(insert(db.watches).values(_columns(watch)))
            elif _watch(row) != watch:
                raise Refused(
                    f"split {watch.split} is already watched with other thresholds or for another rollout.",
                    hint="Use another split for the step.",
                )

    def watches(self, splits: Iterable[str]) -> Mapping[str, Watch]:
        """Returns the watches of those of `splits` that are watched."""
        with self._database.read() as connection:
            rows = connection.execute(select(db.watches).where(db.watches.c.split.in_(list(splits))))
            return {row.split: _watch(row) for row in rows}

    def counts(self, split: str) -> Mapping[str, ArmCounts] | None:
        """Returns counts by release, for releases that have answered. None: the split is not watched."""
        return self.counts_of_all((split,)).get(split)

    def counts_of_all(self, splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        """Returns counts by split and release, for those of `splits` that are watched and the releases that have
        answered."""
        at, asked = db.counts.c, list(splits)
        counted = select(at.split, at.release, at.name, at.value).where(at.split.in_(asked))
        with self._database.read() as connection:
            watched = connection.execute(select(db.watches.c.split).where(db.watches.c.split.in_(asked))).scalars()
            named: dict[str, dict[str, dict[str, int]]] = {split: defaultdict(dict) for split in watched}
            for split, release, name, value in connection.execute(counted):
                if split in named:
                    named[split][release][name] = value
        return {
            split: {release: arm_counts(release, names) for release, names in releases.items()}
            for split, releases in named.items()
        }

    def follow(self, one: Followed) -> None:
        """Stores that the release is followed."""
        at = db.followed.c
        values = {"model": one.model, "threshold": one.threshold, "slow_ms": one.slow_ms}
        with self._database.write() as connection:
            changed = connection.execute(db.followed.update().where(at.release == one.release).values(values))
            if not changed.rowcount:
                connection.execute(insert(db.followed).values(release=one.release, **values))

    def following(self, releases: Iterable[str]) -> Mapping[str, Followed]:
        """Returns those of `releases` that are followed."""
        with self._database.read() as connection:
            rows = connection.execute(select(db.followed).where(db.followed.c.release.in_(list(releases))))
            return {row.release: Followed(row.release, row.model, row.threshold, row.slow_ms) for row in rows}

    def followed(self) -> Mapping[str, ArmCounts]:
        """Returns counts by release, for followed releases that have answered."""
        named: dict[str, dict[str, int]] = defaultdict(dict)
        at = db.counts.c
        with self._database.read() as connection:
            for row in connection.execute(select(db.counts).where(at.split >= LIVE, at.split < _AFTER_LIVE)):
                named[row.release][row.name] = row.value
        return {release: live_counts(release, names) for release, names in named.items()}

    def hours(self, releases: Collection[str], first: int) -> Sequence[HourCounts]:
        """Returns the counts of `releases` by hour, from the hour `first` on, oldest first."""
        named: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
        at = db.hours.c
        query = select(db.hours).where(at.hour >= first, at.release.in_(list(releases))).order_by(at.hour, at.release)
        with self._database.read() as connection:
            for row in connection.execute(query):
                named[row.hour, row.release][row.name] = row.value
        return [
            HourCounts(hour, live_counts(release, names), squares(names)) for (hour, release), names in named.items()
        ]

    def traffic(self, model: str, seconds: float, now: float) -> Mapping[str, Traffic]:
        """Returns the traffic of the last whole minutes, and of the minute that has begun, which together cover
        `seconds`.

        They cover at most an hour. With 0, only the minute that has begun is returned.
        """
        return self._traffic(seconds, now, model).get(model, {})

    def traffic_of_all(self, seconds: float, now: float) -> Mapping[str, Mapping[str, Traffic]]:
        """Returns the result of `traffic` by model."""
        return self._traffic(seconds, now)

    def _traffic(self, seconds: float, now: float, model: str | None = None) -> Mapping[str, Mapping[str, Traffic]]:
        first = int(now // 60) - min(math.ceil(seconds / 60), 60)
        at = db.minutes.c
        named: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        query = (
            select(at.model, at.release, at.name, func.sum(at.value).label("total"))
            .where(at.minute >= first)
            .group_by(at.model, at.release, at.name)
        )
        with self._database.read() as connection:
            for row in connection.execute(query if model is None else query.where(at.model == model)):
                named[row.model][row.release][row.name] = int(row.total)
        return {
            name: {release: _traffic(release, names, now - first * 60) for release, names in releases.items()}
            for name, releases in named.items()
        }

    def totals(self) -> Mapping[str, Totals]:
        """Returns the counters by release, since its first request."""
        named: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
        with self._database.read() as connection:
            for row in connection.execute(select(db.totals)):
                named[row.release, row.model][row.name] = row.value
            streaks = {(row.release, row.model): _streak(row) for row in connection.execute(select(db.streaks))}
        totals = [Totals(release, model, **counts) for (release, model), counts in named.items()]
        return {one.release: replace(one, streak=streaks.get((one.release, one.model), Streak())) for one in totals}

    def report(self) -> Mapping[str, Any] | None:
        """Returns the collector's last report, with its `age` in seconds by the clock of the database. None: there is
        none. Of a database that is shared only."""
        age = (db.NOW - db.collector.c.at).label("age")
        with self._database.read() as connection:
            row = connection.execute(select(db.collector.c.report, age)).one_or_none()
        return {**json.loads(row.report), "age": row.age} if row is not None and row.report else None

    def retain(self, model: str, days: int) -> None:
        """Sets how many days predictions of `model` are kept. Raises InvalidInput for less than a day."""
        if days < 1:
            raise InvalidInput(f"retention of {model}: {days} days.", hint="Keep predictions for one day or more.")
        db_days = db.retention.c
        with self._database.write() as connection:
            changed = connection.execute(db.retention.update().where(db_days.model == model).values(days=days))
            if not changed.rowcount:
                connection.execute(insert(db.retention).values(model=model, days=days))

    def retentions(self) -> Mapping[str, int]:
        """Returns the days by model, where they were set. Other models have `DEFAULT_DAYS`."""
        with self._database.read() as connection:
            return {row.model: row.days for row in connection.execute(select(db.retention))}


def _streak(row: Row[Any]) -> Streak:
    return Streak(row.failing, _time(row.answered_at), _time(row.failed_at))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _traffic(release: str, named: Mapping[str, int], seconds: float) -> Traffic:
    histogram = {int(name[3:]): count for name, count in named.items() if name.startswith("ms.")}
    return Traffic(
        release=release,
        requests=named.get("requests", 0),
        seconds=seconds,
        errors=named.get("errors", 0),
        p50_ms=quantile(histogram, 0.50),
        p99_ms=quantile(histogram, 0.99),
    )


def _columns(watch: Watch) -> dict[str, Any]:
    return {
        "split": watch.split,
        "rollout": watch.rollout,
        "model": watch.model,
        "thresholds": json.dumps(dict(watch.thresholds), sort_keys=True),
        "slow_ms": watch.slow_ms,
    }


def _watch(row: Row[Any]) -> Watch:
    return Watch(row.split, row.rollout, row.model, json.loads(row.thresholds), row.slow_ms)
