"""Outcomes of predictions: labels as they are sent, and figures of champions that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from serinus.core.errors import InvalidInput
from serinus.core.predictions import Labels
from serinus.core.text import one_line
from serinus.lib.times import in_utc
from serinus.resources.base import Answer, Moment, Request, ShortText

ROWS_A_PART = 10_000


def _zero_or_one(label: float) -> float:
    if label not in (0.0, 1.0):
        raise ValueError("a label is 0 or 1")
    return label


class SentOutcome(Request):
    """One outcome. One of the two ids is required."""

    request_id: ShortText = ""
    """The caller's id. If several requests of a model have it, none of them is labelled."""
    prediction_id: ShortText = ""
    """The id that Serinus has answered as `x-serinus-prediction-id`."""
    caller: ShortText = ""
    """The name of the request's API key. If given, it must match."""
    release: ShortText = ""
    """The release of the request. If given, it must match."""
    label: Annotated[float, AfterValidator(_zero_or_one)]
    """1 for fraud, 0 for none."""
    observed_at: Annotated[datetime, AfterValidator(in_utc)] | None = None
    """In UTC where it has no offset. null: now."""
    source: ShortText = ""

    @model_validator(mode="after")
    def _names_a_request(self) -> SentOutcome:
        if not (self.request_id or self.prediction_id):
            raise ValueError("an outcome needs a prediction_id or a request_id")
        return self


Texts = Annotated[list[ShortText], Field(max_length=ROWS_A_PART)]
_IDS = ("prediction_id", "request_id")


class ImportPart(Request):
    """Outcomes as columns: a list for each field, all of the same length. Fields may be left out. One of the two ids is
    required for each outcome."""

    label: Annotated[list[float], Field(min_length=1, max_length=ROWS_A_PART)]
    """1 for fraud, 0 for none."""
    prediction_id: Texts | None = None
    """Empty: not given."""
    request_id: Texts | None = None
    """Empty: not given."""
    caller: Texts | None = None
    release: Texts | None = None
    observed_at: Annotated[list[datetime], Field(max_length=ROWS_A_PART)] | None = None
    """In UTC where they have no offset. null: now."""
    source: Texts | None = None

    @model_validator(mode="after")
    def _fits(self) -> ImportPart:
        if not set(self.label) <= {0.0, 1.0}:
            raise ValueError("a label is 0 or 1")
        lists = (getattr(self, name) for name in type(self).model_fields)
        if any(one is not None and len(one) != len(self.label) for one in lists):
            raise ValueError("the lists of all fields must have the same length")
        given = [one for name in _IDS if (one := getattr(self, name)) is not None]
        if not given or not all(map(any, zip(*given, strict=True))):
            raise ValueError("an outcome needs a prediction_id or a request_id")
        return self

    def labels(self, now: datetime, source: str) -> Labels:
        """Returns the outcomes, with `now` and `source` where they have none. Raises InvalidInput."""
        count = len(self.label)
        try:
            moments = {moment: in_utc(moment) for moment in set(self.observed_at or ())}
        except ValueError as error:
            raise InvalidInput(f"observed_at: {error}") from error
        return Labels(
            label=self.label,
            observed_at=[moments[one] for one in self.observed_at] if self.observed_at else [now] * count,
            source=[one or source for one in self.source] if self.source else [source] * count,
            **{name: getattr(self, name) or [""] * count for name in (*_IDS, "caller", "release")},
        )


class ImportRequest(Request):
    """The completion of an import."""

    name: Annotated[str, Field(max_length=1000), AfterValidator(one_line)] = ""
    """The name of the file, for the audit record."""
    rows: Annotated[int, Field(ge=0)] = 0
    """The number of rows that were sent, for the audit record."""


class OutcomesReceived(Answer):
    """The number of outcomes that were received."""

    received: int


class OutcomesTaken(OutcomesReceived):
    """The number of outcomes that were stored."""

    changed: int
    """Outcomes that were new or corrected an earlier one."""


class Discarded(Answer):
    """Whether there was an import to discard."""

    discarded: bool


class Share(Answer):
    """A share with its 95% interval, from 0 to 1."""

    share: float
    low: float
    high: float


class OutcomeCounts(Answer):
    """Counts of predictions with an outcome."""

    labelled: int
    """Predictions that have an outcome."""
    frauds: int
    """Labelled predictions with the label 1."""
    alerts: int
    """Labelled predictions that alerted."""
    caught: int
    """Labelled predictions that alerted and have the label 1."""
    recall: Share | None
    """The share of the frauds that alerted. null: there are no frauds."""
    precision: Share | None
    """The share of the alerts that were frauds. null: there are no alerts."""


class OutcomeWeek(OutcomeCounts):
    """The counts of one release in one week."""

    week: date
    """The Monday of the week."""
    release: str
    matured: bool
    """Whether all its predictions are old enough for their outcomes to be final."""


class OutcomeFigures(Answer):
    """The quality of a champion by outcomes, and by week that of its former champions as well."""

    at: Moment
    """The time at which they were computed."""
    matures_days: float
    """The age in days from which on the outcome of a prediction is final."""
    release: str | None
    matured: OutcomeCounts | None
    """Counts of matured predictions. null: none of them has an outcome."""
    young: OutcomeCounts | None
    weeks: Sequence[OutcomeWeek]
