"""The prediction log: the record of every answered request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from serinus.core.disturbance import Disturbance
from serinus.core.evidence import ArmCounts, Followed, HourCounts, Totals, Traffic, Watch
from serinus.core.predictions import AnsweredRequest, Imported, Label, Labels, Mark, OutcomeDay, OutcomeMatches


class ArrowTable(Protocol):
    """Columns in memory that implement the Arrow PyCapsule interface, for `polars.DataFrame(it)` or
    `pyarrow.table(it)`."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class PredictionRows(Protocol):
    """The answered requests, one row each. Implementations: predictions, for the whole log and for its table alone."""

    def rows(
        self, model: str, columns: Sequence[str], since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[ArrowTable]:
        """Yields `columns` of the model's requests from `since` until before `until`, in the order of time.

        The tables have a bounded size. Every request that was acknowledged before the call is returned exactly once.
        docs/prediction-log.md lists the columns. Raises InvalidInput for a column that does not exist.
        """
        ...


class PredictionQueries(PredictionRows, Protocol):
    """Read-only queries of the prediction log. Implementations: predictions."""

    def hours(self, releases: Collection[str], since: datetime) -> Sequence[HourCounts]:
        """Returns the counts of each hour, from the hour of `since` on, in which one of `releases` was followed and
        answered.

        They are returned oldest first. At most the last five weeks are kept.
        """
        ...

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        """Returns the model's traffic by release in the last `seconds` and in the minute that has begun.

        `seconds` is rounded up to whole minutes, and is at most an hour. With 0, only the minute that has begun is
        returned. `Traffic.seconds` is the length of the period.
        """
        ...

    def traffic_of_all(self, seconds: float) -> Mapping[str, Mapping[str, Traffic]]:
        """Returns the result of `traffic` for every model that has answered in that period, in one reading."""
        ...

    def totals(self) -> Mapping[str, Totals]:
        """Returns the counters by release, also of releases that no longer exist."""
        ...

    def sample(
        self, releases: Collection[str], after: Mark | None, most: int
    ) -> tuple[Mark, Sequence[AnsweredRequest]]:
        """Returns a random sample of the requests that each of `releases` has answered since `after`, and the new
        position.

        At most `most` requests of each release are returned. Answers by the fallback are left out. With `after` None
        the newest requests are sampled. The amount that is read is bounded, and requests that are skipped are not
        returned later.
        """
        ...

    def outcome_days(self, thresholds: Mapping[str, float]) -> Sequence[OutcomeDay]:
        """Returns counts by day of the requests that have an outcome and that a release answered as champion.

        `thresholds` are the scores from which on a row alerts, by release. The days are in order. Reads the whole log.
        """
        ...

    def outcomes_mark(self) -> str:
        """Returns a text that changes whenever outcomes have arrived. Empty: there are none. Cheap."""
        ...

    def matches(self) -> OutcomeMatches:
        """Returns how many outcomes match predictions. Reads the whole log."""
        ...


class PredictionLog(PredictionQueries, Protocol):
    """The record of answered requests, with commands that start counts and add outcomes. Implementations:
    predictions."""

    def watch(self, watch: Watch) -> None:
        """Starts counting under `watch.split`. It must be called before the split is in force.

        A repeated call changes nothing. Raises Refused for a different watch of the same split.
        """
        ...

    def counts(self, split: str) -> Mapping[str, ArmCounts] | None:
        """Returns the counts by release. None: unknown, because there is no such watch or the log is not there."""
        ...

    def counts_of_all(self, splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        """Returns the counts of each of the splits for which they are known, in one reading."""
        ...

    def follow(self, followed: Followed) -> None:
        """Starts counting the release, whatever the split of its requests.

        A repeated call changes nothing. Another threshold or limit applies to what is counted from then on.
        """
        ...

    def followed(self) -> Mapping[str, ArmCounts] | None:
        """Returns totals and the counts `..._in_window` of the followed releases that have answered. None: unknown.

        They are counted since the release was first followed, and never decrease.
        """
        ...

    def disturbance(self, model: str) -> Disturbance | None:
        """Returns the longest disturbance because of which the model's requests are set aside at present, in both arms.

        None: they are counted. Never raises.
        """
        ...

    def warnings(self) -> Sequence[str]:
        """Returns a sentence for everything that the log cannot do at present, or has lost. Never raises."""
        ...

    def retain(self, model: str, days: int) -> None:
        """Sets for how many days the model's records are kept."""
        ...

    def label(self, labels: Iterable[Label]) -> int:
        """Stores outcomes durably. Returns how many were new or corrected an earlier one."""
        ...

    def stage(self, import_id: str, number: int, part: Labels) -> None:
        """Stores part `number` of an import for at most a day. A part with the same number is replaced.

        No request is labelled before `attach`. Raises InvalidInput where `import_id` is not 32 hexadecimal digits.
        """
        ...

    def attach(self, import_id: str) -> Imported:
        """Attaches all parts of the import durably. May be repeated.

        Raises NotFound where there are none. After Unavailable, some of the parts may be attached.
        """
        ...

    def discard(self, import_id: str) -> None:
        """Removes the parts of the import. Does nothing where there are none."""
        ...
