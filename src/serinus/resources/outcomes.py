"""Outcomes of predictions: labels as they are sent, and what they say of champions."""

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
    """One of the two ids is needed."""

    request_id: ShortText = ""
    """The caller's. One that several requests of a model have labels none of them."""
    prediction_id: ShortText = ""
    """Serinus' own, answered as `x-serinus-prediction-id`."""
    caller: ShortText = ""
    """If given, the request's: the name of its API key."""
    release: ShortText = ""
    """If given, the request's."""
    label: Annotated[float, AfterValidator(_zero_or_one)]
    """1 for fraud, 0 for none."""
    observed_at: Annotated[datetime, AfterValidator(in_utc)] | None = None
    """Without an offset it is UTC; null: now."""
    source: ShortText = ""

    @model_validator(mode="after")
    def _names_a_request(self) -> SentOutcome:
        if not (self.request_id or self.prediction_id):
            raise ValueError("an outcome needs a prediction_id or a request_id")
        return self


Texts = Annotated[list[ShortText], Field(max_length=ROWS_A_PART)]
_IDS = ("prediction_id", "request_id")


class ImportPart(Request):
    """Outcomes, a list for each field, all of one length; a field that is left out says nothing of any of them. One of
    the two ids is needed for each outcome."""

    label: Annotated[list[float], Field(min_length=1, max_length=ROWS_A_PART)]
    """1 for fraud, 0 for none."""
    prediction_id: Texts | None = None
    """Empty: not said."""
    request_id: Texts | None = None
    """Empty: not said."""
    caller: Texts | None = None
    release: Texts | None = None
    observed_at: Annotated[list[datetime], Field(max_length=ROWS_A_PART)] | None = None
    """Without an offset they are UTC; null: now."""
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
        """With `now` and `source` where it does not say them. Raises InvalidInput."""
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
    name: Annotated[str, Field(max_length=1000), AfterValidator(one_line)] = ""
    """Of the file, for the audit record."""
    rows: Annotated[int, Field(ge=0)] = 0
    """That were sent, for the audit record."""


class OutcomesReceived(Answer):
    received: int


class OutcomesTaken(OutcomesReceived):
    changed: int
    """New, or corrected an earlier one."""


class Discarded(Answer):
    discarded: bool


class Share(Answer):
    """A share with its 95 % interval, each from 0 to 1."""

    share: float
    low: float
    high: float


class OutcomeCounts(Answer):
    labelled: int
    """Predictions that have an outcome."""
    frauds: int
    """Those of them with the label 1."""
    alerts: int
    """Those of them that alerted."""
    caught: int
    """Those of them that alerted and have the label 1."""
    recall: Share | None
    """Share of the frauds that alerted; null: there are no frauds."""
    precision: Share | None
    """Share of the alerts that were frauds; null: there are no alerts."""


class OutcomeWeek(OutcomeCounts):
    week: date
    """Its Monday."""
    release: str
    matured: bool
    """Its predictions are old enough for their outcomes to be final."""


class OutcomeFigures(Answer):
    """What the outcomes say of a champion, and by week of the champions before it."""

    at: Moment
    """When they were computed."""
    matures_days: float
    """Age of a prediction from which on its outcome is final."""
    release: str | None
    matured: OutcomeCounts | None
    """Of predictions that are old enough; null: none of them has an outcome."""
    young: OutcomeCounts | None
    weeks: Sequence[OutcomeWeek]
