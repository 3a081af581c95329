"""The PredictionLog port on one machine, for the engine and the API; the collector writes what it reads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl
from sqlalchemy.exc import OperationalError

from serinus.core.disturbance import Disturbance
from serinus.core.errors import Unavailable
from serinus.core.evidence import ArmCounts, Followed, HourCounts, Totals, Traffic, Watch
from serinus.core.home import Home
from serinus.core.predictions import AnsweredRequest, Imported, Label, Labels, Mark, OutcomeDay, OutcomeMatches
from serinus.disturbances import Disturbances
from serinus.predictions.counts import schema
from serinus.predictions.counts.ledger import Ledger, RouterReplies
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.labels import matching, outcomes, performance
from serinus.predictions.labels.importing import Imports
from serinus.predictions.labels.outcomes import OutcomeStore
from serinus.predictions.paths import counts_path, imports_path, outcomes_path, segments_path, table_path
from serinus.predictions.queries.reading import read_predictions, within
from serinus.predictions.queries.rows import rows
from serinus.predictions.queries.sampling import sample
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.files import Position
from serinus.predictions.status import STALE_SECONDS, read_status


class DeltaPredictionLog:
    """Thread-safe. Opening it creates the two databases where they are not there yet."""

    def __init__(self, home: Home, now: Callable[[], float] = time.time) -> None:
        self._home, self._now = home, now
        try:
            self._counts_database = Database(counts_path(home), schema.metadata)
            self._outcomes_database = Database(outcomes_path(home), outcomes.metadata)
        except OperationalError as error:
            raise _unavailable(error) from error
        self._counts = CountStore(self._counts_database)
        self._ledger = Ledger(self._counts_database)
        self._outcomes = OutcomeStore(self._outcomes_database)
        self._imports = Imports(imports_path(home))
        self._disturbances = Disturbances(home.disturbances)
        self._dice = random.Random()  # noqa: S311  chance, no secret

    def watch(self, watch: Watch) -> None:
        try:
            self._counts.watch(watch)
        except OperationalError as error:
            raise _unavailable(error) from error

    def counts(self, split: str) -> Mapping[str, ArmCounts] | None:
        """Release -> counts, of the releases that have answered. None also while the collector is not running:
        counts that nobody keeps must not promote anything."""
        return self.counts_of_all((split,)).get(split)

    def counts_of_all(self, splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        """None are known while the collector is not running, as of `counts`."""
        if not splits or not self._is_kept():
            return {}
        try:
            return self._counts.counts_of_all(splits)
        except OperationalError:
            return {}

    def _is_kept(self) -> bool:
        status = read_status(self._home)
        return status is not None and self._now() - float(status.get("at", 0)) <= STALE_SECONDS

    def follow(self, followed: Followed) -> None:
        try:
            self._counts.follow(followed)
        except OperationalError as error:
            raise _unavailable(error) from error

    def followed(self) -> Mapping[str, ArmCounts] | None:
        """None also while the collector is not running, as of `counts`."""
        if not self._is_kept():
            return None
        try:
            return self._counts.followed()
        except OperationalError:
            return None

    def hours(self, releases: Collection[str], since: datetime) -> Sequence[HourCounts]:
        try:
            return self._counts.hours(releases, int(since.timestamp() // 3600))
        except OperationalError as error:
            raise _unavailable(error) from error

    def disturbance(self, model: str) -> Disturbance | None:
        now = self._now()
        present = [one for one in self._disturbances.within(now, now) if one.concerns(model)]
        return min(present, key=lambda one: one.since, default=None)

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        try:
            return self._counts.traffic(model, seconds, self._now())
        except OperationalError as error:
            raise _unavailable(error) from error

    def traffic_of_all(self, seconds: float) -> Mapping[str, Mapping[str, Traffic]]:
        try:
            return self._counts.traffic_of_all(seconds, self._now())
        except OperationalError as error:
            raise _unavailable(error) from error

    def totals(self) -> Mapping[str, Totals]:
        """Release -> what it did since it was first heard of, over all restarts: counters that only grow."""
        try:
            return self._counts.totals()
        except OperationalError as error:
            raise _unavailable(error) from error

    def label(self, labels: Iterable[Label]) -> int:
        try:
            return self._outcomes.add(labels)
        except OperationalError as error:
            raise _unavailable(error) from error

    def stage(self, import_id: str, number: int, part: Labels) -> None:
        try:
            self._imports.add(import_id, number, part)
        except OSError as error:
            raise Unavailable(
                f"Outcomes cannot be stored: {error.strerror}.", hint="Check whether the disk is full."
            ) from error

    def attach(self, import_id: str) -> Imported:
        outcomes = self._imports.outcomes(import_id)
        try:
            changed = self._outcomes.add_many(outcomes)
            met = matching.matches(self.read(), outcomes)
        except OperationalError as error:
            raise _unavailable(error) from error
        self._imports.discard(import_id)
        return Imported(outcomes.height, changed, met.unmatched, met.ambiguous)

    def discard(self, import_id: str) -> None:
        self._imports.discard(import_id)

    def retain(self, model: str, days: int) -> None:
        """Keeps predictions of `model` for so many days. Raises InvalidInput for less than one."""
        try:
            self._counts.retain(model, days)
        except OperationalError as error:
            raise _unavailable(error) from error

    def read(
        self, model: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> pl.LazyFrame:
        """Predictions with `since` <= time < `until`, the newest seconds included, each once; a row a request,
        columns as in `table.delta.COLUMNS`. To be collected within the hour for which replaced files are kept."""
        replies = RouterReplies(self._ledger.replies())
        aside = Aside(self._disturbances)
        found = read_predictions(table_path(self._home), segments_path(self._home), replies, aside)
        return within(found, model, since, until)

    def rows(
        self, model: str, columns: Sequence[str], since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[pl.DataFrame]:
        try:
            yield from rows(self.read, model, columns, since, until)
        except OperationalError as error:
            raise _unavailable(error) from error

    def outcomes(self) -> pl.DataFrame:
        """prediction_id, request_id, caller, release (empty where nothing was said), label, observed_at, source."""
        return self._outcomes.frame()

    def labelled(
        self, model: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> pl.LazyFrame:
        """The predictions that have an outcome, with label, observed_at and source. An outcome that several requests
        of the model may be meant by is not used, also where only one of them lies within `since` and `until`."""
        return within(matching.labelled(self.read(model), self._outcomes.frame()), None, since, until)

    def outcome_days(self, thresholds: Mapping[str, float]) -> Sequence[OutcomeDay]:
        try:
            return performance.outcome_days(self.read(), self._outcomes.frame(), thresholds)
        except OperationalError as error:
            raise _unavailable(error) from error

    def outcomes_mark(self) -> str:
        try:
            return self._outcomes.mark()
        except OperationalError as error:
            raise _unavailable(error) from error

    def unmatched(self) -> int:
        """Outcomes whose request is not in the log: not yet, no longer, or never."""
        return self.matches().unmatched

    def matches(self) -> OutcomeMatches:
        try:
            return matching.matches(self.read(), self._outcomes.frame())
        except OperationalError as error:
            raise _unavailable(error) from error

    def sample(
        self, releases: Collection[str], after: Mark | None, most: int
    ) -> tuple[Mark, Sequence[AnsweredRequest]]:
        """Of the segments that are not rolled up yet, which hold the last half minute at least."""
        begin = Position(0, 0) if after is None else Position(*after)
        try:
            return sample(segments_path(self._home), releases, begin, most, self._dice)
        except OSError as error:
            raise Unavailable(f"The prediction log's segments cannot be read: {error.strerror}.") from error

    def warnings(self) -> Sequence[str]:
        """The warnings that the collector reported last."""
        status = read_status(self._home) or {}
        return [f"the prediction log: {warning}" for warning in status.get("warnings", ())]

    def close(self) -> None:
        self._counts_database.close()
        self._outcomes_database.close()


def _unavailable(error: OperationalError) -> Unavailable:
    return Unavailable(
        f"The prediction log's database does not answer: {error.orig}.", hint="Check whether the disk is full."
    )
