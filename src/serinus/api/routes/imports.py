"""Imports of outcomes: any number of parts, then all of them at once. One entry of the audit record an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from serinus.api.auth import Deployer
from serinus.api.record import audited
from serinus.api.services import Given
from serinus.core.errors import InvalidInput
from serinus.core.predictions import Labels
from serinus.core.text import one_line
from serinus.lib.times import in_utc

router = APIRouter(tags=["acts"])

ROWS_A_PART = 10_000
PARTS = 300
"""Of one import. All of it is in memory when it is attached."""

Import = Annotated[str, InPath(pattern="^[0-9a-f]{32}$")]
Number = Annotated[int, InPath(ge=0, lt=PARTS)]
Texts = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=ROWS_A_PART)]
_IDS = ("prediction_id", "request_id")


class Part(BaseModel):
    """Outcomes, a list for each field; a field that is left out says nothing of any of them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    label: Annotated[list[float], Field(min_length=1, max_length=ROWS_A_PART)]
    """1 for fraud, 0 for none."""
    prediction_id: Texts | None = None
    request_id: Texts | None = None
    """One of the two ids is needed for each outcome; empty: not said."""
    caller: Texts | None = None
    release: Texts | None = None
    observed_at: Annotated[list[datetime], Field(max_length=ROWS_A_PART)] | None = None
    """Without an offset it is UTC; without a time at all it is now."""
    source: Texts | None = None

    @model_validator(mode="after")
    def _fits(self) -> Part:
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


class Attached(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=1000), AfterValidator(one_line)] = ""
    """Of the file, for the audit record."""
    rows: Annotated[int, Field(ge=0)] = 0
    """That were sent, for the audit record."""


@router.put("/outcomes/imports/{import_id}/parts/{number}")
def put_part(import_id: Import, number: Number, part: Part, services: Given, actor: Deployer) -> Mapping[str, int]:
    """Sets a part aside. Nothing is labelled before the import is attached, and what is not within a day is forgotten.
    Whoever imports names the import, by 32 random hexadecimal digits."""
    services.world.log.stage(import_id, number, part.labels(services.world.clock.now(), actor.name))
    return {"received": len(part.label)}


@router.post("/outcomes/imports/{import_id}")
def attach(import_id: Import, wish: Attached, services: Given, actor: Deployer) -> Mapping[str, Any]:
    """Attaches all parts: how many outcomes there were, how many of them were new or corrected an earlier one, and how
    many label nothing: `unknown`, their request is not in the log; `ambiguous`, several requests have their id.
    Durable when answered."""
    details = {"import": import_id, "name": wish.name, "rows": wish.rows}
    with audited(services.world, actor, "outcomes", "predictions", "", details):
        return asdict(services.world.log.attach(import_id))


@router.delete("/outcomes/imports/{import_id}")
def discard(import_id: Import, services: Given, _actor: Deployer) -> Mapping[str, bool]:
    """Forgets what was set aside."""
    services.world.log.discard(import_id)
    return {"discarded": True}
