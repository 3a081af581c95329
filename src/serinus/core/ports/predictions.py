"""The record of every answered request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from serinus.core.disturbance import Disturbance
from serinus.core.evidence import ArmCounts, Followed, HourCounts, Totals, Traffic, Watch
from serinus.core.predictions import AnsweredRequest, Imported, Label, Labels, Mark, OutcomeDay, OutcomeMatches


class ArrowTable(Protocol):
    """Columns in memory, by the Arrow PyCapsule interface: `polars.DataFrame(it)`, `pyarrow.table(it)`."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class PredictionRows(Protocol):
    """What was answered, request by request. Implementations: predictions, of the whole log or of its table alone."""

    def rows(
        self, model: str, columns: Sequence[str], since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[ArrowTable]:
        """`columns` (docs/prediction-log.md has them) of the requests of `model`, answered from `since` on and before
        `until`, in the order of time: tables of a bounded size, one after the other. What was acknowledged before is
        among them, and each request once, however long it takes. Raises InvalidInput for a column that there is not,
        and Unavailable."""
        ...


class PredictionQueries(PredictionRows, Protocol):
    """What is asked of the prediction log. Nothing here changes it. Implementations: predictions."""

    def hours(self, releases: Collection[str], since: datetime) -> Sequence[HourCounts]:
        """Of each hour from the one of `since` on in which one of `releases` was followed and has answered; of the
        last five weeks at most. Oldest first. Raises Unavailable."""
        ...

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        """Release -> what it answered in the last `seconds` (rounded up to whole minutes, an hour at most) and in the
        minute that has begun; 0: in this one alone. `Traffic.seconds` is the time of it."""
        ...

    def traffic_of_all(self, seconds: float) -> Mapping[str, Mapping[str, Traffic]]:
        """Model -> what `traffic` says of it, of all models that were asked in that time, in one reading."""
        ...

    def totals(self) -> Mapping[str, Totals]:
        """Release -> its counters, also of releases that are gone."""
        ...

    def sample(
        self, releases: Collection[str], after: Mark | None, most: int
    ) -> tuple[Mark, Sequence[AnsweredRequest]]:
        """Of what each of `releases` has answered since `after`, by the model and not by a fallback: at most `most`
        requests a release, drawn at random; and up to where that was. None: of the newest that there are.
        Reads a bounded amount: what it passes over is not answered later. Raises Unavailable."""
        ...

    def outcome_days(self, thresholds: Mapping[str, float]) -> Sequence[OutcomeDay]:
        """Of the releases with a threshold, from which on a row alerts, what they answered as champion and that has an
        outcome. Ordered by day. Reads the whole log. Raises Unavailable."""
        ...

    def outcomes_mark(self) -> str:
        """Another one whenever outcomes have come since; empty: there are none. Cheap."""
        ...

    def matches(self) -> OutcomeMatches:
        """How outcomes and predictions meet. Reads the whole log. Raises Unavailable."""
        ...


class PredictionLog(PredictionQueries, Protocol):
    """Every answered request, and what is counted of them from when on. Implementations: predictions."""

    def watch(self, watch: Watch) -> None:
        """Counts from now on under `watch.split`. To be called before the split is in force. Repeating changes
        nothing; another watch for the same split is Refused."""
        ...

    def counts(self, split: str) -> Mapping[str, ArmCounts] | None:
        """Release -> counts; None: not known (no such watch, or the log is not there)."""
        ...

    def counts_of_all(self, splits: Collection[str]) -> Mapping[str, Mapping[str, ArmCounts]]:
        """Split -> what `counts` says of it, of those of which that is known, in one reading."""
        ...

    def follow(self, followed: Followed) -> None:
        """Counts the release from now on, under whatever split it answers. Repeating changes nothing; with another
        threshold or limit, what is counted from now on goes by that."""
        ...

    def followed(self) -> Mapping[str, ArmCounts] | None:
        """Release -> totals and `..._in_window` since it was first followed, which only grow, of the followed
        releases that have answered; None: not known."""
        ...

    def disturbance(self, model: str) -> Disturbance | None:
        """Of which the model's requests are set aside now, in both arms: the one that has gone on for longest. None:
        they are counted. Never raises."""
        ...

    def warnings(self) -> Sequence[str]:
        """What it cannot do now, or has lost, a sentence each; empty where all is well. Never raises."""
        ...

    def retain(self, model: str, days: int) -> None:
        """How long the model's records are kept, from now on."""
        ...

    def label(self, labels: Iterable[Label]) -> int:
        """Attaches outcomes, durable on return; how many were new or corrected an earlier one."""
        ...

    def stage(self, import_id: str, number: int, part: Labels) -> None:
        """Sets part `number` of an import aside, for a day at most; the same number again takes its place. Nothing is
        labelled yet. `import_id`: 32 hexadecimal digits, else InvalidInput."""
        ...

    def attach(self, import_id: str) -> Imported:
        """Attaches all that was set aside for the import, durable on return; what it did can be done again. NotFound:
        there is none. Raises Unavailable: a part of it may be attached."""
        ...

    def discard(self, import_id: str) -> None:
        """Forgets what was set aside for the import. Nothing happens where there is none."""
        ...
