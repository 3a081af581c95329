"""The port PredictionLog, for the engine and the API. The collector writes what it reads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import polars as pl
from deltalake.exceptions import DeltaError
from polars.exceptions import PolarsError
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
from serinus.predictions.database import Database, unavailable
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
from serinus.predictions.table.places import Directory, Place
from serinus.predictions.writer import known_writer


class DeltaPredictionLog:
    """The prediction log. Thread-safe. Creates the two databases where they do not exist.

    `place` is that of the table. None: the directory in the home. `database` is the URL of a PostgreSQL database for
    counts and outcomes. None: they are in the home. With both, and a collector elsewhere, the log is whole but for the
    seconds that are not in the table yet. Raises Unavailable, and Refused where a driver is not installed.
    """

    def __init__(
        self,
        home: Home,
        now: Callable[[], float] = time.time,
        place: Place | None = None,
        database: str | None = None,
    ) -> None:
        self._home, self._now = home, now
        self._place = place or Directory(table_path(home))
        self._counts_database = Database(database or counts_path(home), schema.metadata)
        self._outcomes_database = Database(database or outcomes_path(home), outcomes.metadata)
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
            raise unavailable(error) from error

    def counts(self, split: str) -> Mapping[str, ArmCounts] | None:
        """Returns counts by release. None also while the collector is not running, because nothing may be promoted by
        counts that are not kept."""
        return self.counts_of_all((split,)).get(split)

    def counts_of_all(self, splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        """Returns nothing while the collector is not running, for the reason given in `counts`."""
        try:
            return self._counts.counts_of_all(splits) if splits and self._is_kept() else {}
        except OperationalError:
            return {}

    def _is_kept(self) -> bool:
        status = self._status()
        return status is not None and self._now() - float(status.get("at", 0)) <= STALE_SECONDS

    def _status(self) -> Mapping[str, Any] | None:
        """Returns the collector's report, from where it writes it for readers on other machines, too. Raises
        OperationalError."""
        if not self._counts_database.shared:
            return read_status(self._home)
        report = self._counts.report()
        return report and {**report, "at": self._now() - report["age"]}

    def follow(self, followed: Followed) -> None:
        try:
            self._counts.follow(followed)
        except OperationalError as error:
            raise unavailable(error) from error

    def followed(self) -> Mapping[str, ArmCounts] | None:
        """Returns None while the collector is not running, for the reason given in `counts`."""
        try:
            return self._counts.followed() if self._is_kept() else None
        except OperationalError:
            return None

    def hours(self, releases: Collection[str], since: datetime) -> Sequence[HourCounts]:
        try:
            return self._counts.hours(releases, int(since.timestamp() // 3600))
        except OperationalError as error:
            raise unavailable(error) from error

    def disturbance(self, model: str) -> Disturbance | None:
        now = self._now()
        present = [one for one in self._disturbances.within(now, now) if one.concerns(model)]
        return min(present, key=lambda one: one.since, default=None)

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        try:
            return self._counts.traffic(model, seconds, self._now())
        except OperationalError as error:
            raise unavailable(error) from error

    def traffic_of_all(self, seconds: float) -> Mapping[str, Mapping[str, Traffic]]:
        try:
            return self._counts.traffic_of_all(seconds, self._now())
        except OperationalError as error:
            raise unavailable(error) from error

    def totals(self) -> Mapping[str, Totals]:
        """Returns the counters by release since its first request, across restarts. They never decrease."""
        try:
            return self._counts.totals()
        except OperationalError as error:
            raise unavailable(error) from error

    def label(self, labels: Iterable[Label]) -> int:
        try:
            return self._outcomes.add(labels)
        except OperationalError as error:
            raise unavailable(error) from error

    def stage(self, import_id: str, number: int, part: Labels) -> None:
        try:
            self._imports.add(import_id, number, part)
        except OSError as error:
            raise Unavailable(
                f"Outcomes cannot be stored: {error.strerror}.", hint="Check whether the disk is full."
            ) from error

    def attach(self, import_id: str) -> Imported:
        outcomes = self._imports.outcomes(import_id)
        with _reading():
            changed = self._outcomes.add_many(outcomes)
            met = matching.matches(self.read(), outcomes)
        self._imports.discard(import_id)
        return Imported(outcomes.height, changed, met.unmatched, met.ambiguous)

    def discard(self, import_id: str) -> None:
        self._imports.discard(import_id)

    def retain(self, model: str, days: int) -> None:
        """Sets for how many days predictions of `model` are kept. Raises InvalidInput for less than one."""
        try:
            self._counts.retain(model, days)
        except OperationalError as error:
            raise unavailable(error) from error

    def read(
        self, model: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> pl.LazyFrame:
        """Returns predictions with `since` <= time < `until`, including the latest seconds, one row for each request.

        The columns are those of `table.delta.COLUMNS`. The frame must be collected within an hour, because replaced
        files are deleted after that.
        """
        replies = RouterReplies(self._ledger.replies())
        aside = Aside(self._disturbances)
        found = read_predictions(self._place, segments_path(self._home), replies, aside, known_writer(self._home))
        return within(found, model, since, until)

    def rows(
        self, model: str, columns: Sequence[str], since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[pl.DataFrame]:
        try:
            yield from rows(self.read, model, columns, since, until)
        except OperationalError as error:
            raise unavailable(error) from error

    def outcomes(self) -> pl.DataFrame:
        """Returns prediction_id, request_id, caller, release (empty where not given), label, observed_at and source."""
        return self._outcomes.frame()

    def labelled(
        self, model: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> pl.LazyFrame:
        """Returns the predictions that have an outcome, with label, observed_at and source.

        An outcome that may be of several requests of the model is left out, even where only one of them is within
        `since` and `until`.
        """
        return within(matching.labelled(self.read(model), self._outcomes.frame()), None, since, until)

    def outcome_days(self, thresholds: Mapping[str, float]) -> Sequence[OutcomeDay]:
        with _reading():
            return performance.outcome_days(self.read(), self._outcomes.frame(), thresholds)

    def outcomes_mark(self) -> str:
        try:
            return self._outcomes.mark()
        except OperationalError as error:
            raise unavailable(error) from error

    def unmatched(self) -> int:
        """Returns the number of outcomes whose request is not in the log: not yet, no longer, or never."""
        return self.matches().unmatched

    def matches(self) -> OutcomeMatches:
        with _reading():
            return matching.matches(self.read(), self._outcomes.frame())

    def sample(
        self, releases: Collection[str], after: Mark | None, most: int
    ) -> tuple[Mark, Sequence[AnsweredRequest]]:
        """Samples the segments that are not rolled up yet, which hold at least the last half minute."""
        begin = Position(0, 0) if after is None else Position(*after)
        try:
            return sample(segments_path(self._home), releases, begin, most, self._dice)
        except OSError as error:
            raise Unavailable(f"The prediction log's segments cannot be read: {error.strerror}.") from error

    def warnings(self) -> Sequence[str]:
        """Returns the latest warnings of the collector."""
        try:
            status = self._status() or {}
        except OperationalError as error:
            return [str(unavailable(error))]
        return [f"the prediction log: {warning}" for warning in status.get("warnings", ())]

    def close(self) -> None:
        """Closes the databases."""
        self._counts_database.close()
        self._outcomes_database.close()


@contextmanager
def _reading() -> Iterator[None]:
    """Raises Unavailable where the log or the outcomes cannot be read."""
    try:
        yield
    except OperationalError as error:
        raise unavailable(error) from error
    except (OSError, DeltaError, PolarsError) as error:  # Its message may hold values.
        raise Unavailable(f"The prediction log cannot be read ({type(error).__name__}).") from None
