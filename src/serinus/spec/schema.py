"""The ModelDeployment, the file that a data scientist keeps in the fleet repository for each model.

Every field except `model` has a default, and every field has a description, from which the reference is generated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from serinus.core.names import RULE, is_model_name
from serinus.core.rollout import Policy
from serinus.core.routing import WHOLE
from serinus.spec.quantities import Duration, Kind, Share, Size, format_duration, format_share, wrong
from serinus.spec.section import Section, conflict, or_word
from serinus.spec.serving import Serving

API_VERSION = "serinus/v1"

_POLICY = Policy()


# --- names and types --------------------------------------------------------------------------------------

NAME = Kind("name", RULE)
_COLUMN_TYPES = (
    "double", "float", "long", "integer", "string", "boolean", "datetime", "binary", "array", "object", "map", "any",
)  # fmt: skip
COLUMN = Kind("column type", f"one of {', '.join(_COLUMN_TYPES)}, tensor(<dtype>)")

_OTHER_WORDS_FOR = {
    "float64": "double", "number": "double", "numeric": "double", "decimal": "double", "float32": "float",
    "int64": "long", "bigint": "long", "int": "integer", "int32": "integer", "str": "string", "text": "string",
    "category": "string", "bool": "boolean", "timestamp": "datetime", "date": "datetime",
    "bytes": "binary",
}  # fmt: skip


def _name(value: str) -> str:
    if not is_model_name(value):
        raise wrong(NAME)
    return value


def _column_type(value: str) -> str:
    if value in _COLUMN_TYPES or re.fullmatch(r"tensor\([\w\[\]]+\)", value):
        return value
    raise wrong(
        COLUMN, _OTHER_WORDS_FOR.get(value.lower()) or (value.lower() if value.lower() in _COLUMN_TYPES else None)
    )


Name = Annotated[str, AfterValidator(_name), NAME]
ColumnType = Annotated[str, AfterValidator(_column_type), COLUMN]
Accepted = Literal[
    "one-at-a-time",
    "unasked",
    "inconclusive-quality",
    "inconclusive-golden",
    "inconclusive-latency",
    "inconclusive-memory",
    "inconclusive-load",
]


# --- sections ---------------------------------------------------------------------------------------------


class Caller(Section):
    """What callers send."""

    columns: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="Name and type of every column that callers send, with MLflow's type names. A version that "
        "needs a column that is not listed is aborted at the gates. Left out: the columns of the champion's "
        "signature.",
    )


class Alerts(Section):
    """What counts as an alert."""

    budget: Share = Field(
        default=0.005,
        description="The alert budget: the share of rows that may alert, because analysts cannot look at more. "
        "Recall is compared at this budget.",
    )
    threshold: float | None = Field(
        default=None,
        description="The alert threshold: a row whose score is at or above it is an alert. null: each release has "
        "its own threshold, derived at the gates so that `budget` of the evaluation rows alert.",
    )
    matures: Duration = Field(
        default=timedelta(days=30),
        le=timedelta(days=3650),
        description="Age at which the outcome of a prediction is taken as final, because chargebacks and cases "
        "take that long to arrive. Recall and precision in production are reported separately for older and for "
        "younger predictions.",
    )


class Gates(Section):
    """What a version must show before it gets any traffic."""

    evaluation: str | None = Field(
        default="evaluation.parquet",
        min_length=1,
        description="The evaluation set: labelled rows on which the recall of the version is compared with the "
        "champion's. An artifact of the run or of the model, a path, or a URI. At most 200,000 rows, 5,000,000 "
        "cells and 512 MiB are read. null: no evaluation set.",
    )
    label: str = Field(
        default="label",
        min_length=1,
        description="Column of the evaluation set with the label: 1 for fraud and 0 for no fraud.",
    )
    entity: str = Field(
        default="entity",
        min_length=1,
        description="Column of the evaluation set with the entity of a row, such as a card, if there is one. Rows "
        "of one entity, and copies of one row, depend on each other, so the interval of the recall becomes wider.",
    )
    golden: str | None = Field(
        default="golden.json",
        min_length=1,
        description="The golden rows: rows with the scores that the model gave them at training time. The served "
        "scores must equal them. Found in the same way as `evaluation`. null: no golden rows.",
    )
    recall_margin: Share = Field(
        default=0.05,
        description="How much lower than the champion's the recall at the alert budget may be, in percentage "
        "points. The gate passes when the whole confidence interval of the difference is within the margin, fails "
        "when none of it is, and is inconclusive otherwise.",
    )
    latency_p99: Duration = Field(
        default=timedelta(milliseconds=100),
        gt=timedelta(0),
        description="Maximum 99th percentile of the latency, measured with requests of one row at a time, on this "
        "machine, without other load.",
    )
    memory: Size = Field(default=2**31, description="Maximum memory of the worker after the requests of the gates.")
    accept: tuple[Accepted, ...] = Field(
        default=(),
        description="Findings at the gates that are accepted for this model, although they would abort a version. "
        "`one-at-a-time`: a model that answers differently in a batch is served one row at a time, without a "
        "cache, and is marked so. `unasked`: a version may go live although no row could be made to ask it with. "
        "`inconclusive-...`: that gate need not decide, because there are too few rows or labels; for "
        "`inconclusive-load`, because the model's library has another version than the one that it was logged "
        "with, or warned while the model was loaded.",
    )


class RolloutStep(Section):
    traffic: Share = Field(description="The candidate's share of the model's traffic, a multiple of 0.01%.")
    requests: int | None = Field(
        default=None,
        ge=1,
        description="How many requests the candidate must have answered before the step may pass. null: 5,000, or "
        "the traffic share times 40,000 if that is more (25%: 10,000; 50%: 20,000).",
    )
    for_: Duration = Field(default=timedelta(minutes=10), alias="for", description="Minimum length of the step.")
    at_most: Duration = Field(
        default=timedelta(hours=24),
        gt=timedelta(0),
        description="Maximum length of the step. A step without a verdict by then is extended once by the same "
        "time; after that the rollout is aborted.",
    )

    @model_validator(mode="after")
    def _fits(self) -> RolloutStep:
        if abs(self.traffic * WHOLE - round(self.traffic * WHOLE)) > 1e-6 or round(self.traffic * WHOLE) < 1:
            raise conflict("traffic", f"a multiple of {1 / WHOLE:.2%}", format_share(self.traffic))
        if self.at_most < self.for_:
            raise conflict("at_most", "at least as long as 'for'", format_duration(self.at_most))
        return self


def _step(value: object) -> object:
    return value if isinstance(value, Mapping | RolloutStep) else {"traffic": value}


Step = Annotated[RolloutStep, BeforeValidator(_step), Kind("step", "a step such as 5% or {traffic: 5%, for: 10m}")]


class Rollout(Section):
    """From the gates to full traffic."""

    steps: tuple[Step, ...] = Field(
        default=(RolloutStep(traffic=0.05), RolloutStep(traffic=0.25), RolloutStep(traffic=0.5)),
        description="The steps of the canary, with growing shares of the traffic. Each is a share or a mapping. "
        "After the last one the release is promoted. An empty list: the release is promoted right after the gates.",
    )
    approval: Literal["none", "required"] = Field(
        default="none",
        description="`required`: the rollout waits before the first step until a person other than the requester "
        "approves it. It also sets the model's policy. A later spec does not loosen the policy; `serinus policy` "
        "does, and needs the role approve.",
    )

    @model_validator(mode="after")
    def _grow(self) -> Rollout:
        for n, (before, step) in enumerate(zip(self.steps, self.steps[1:], strict=False), start=1):
            if step.traffic <= before.traffic:
                raise conflict(f"steps.{n}.traffic", "more than the step before it", format_share(step.traffic))
        return self


class Ratio(Section):
    ok: float = Field(
        default=_POLICY.slow.rho_ok,
        gt=0,
        description="How many times the champion's rate is tolerated. The rollout is aborted when the candidate's "
        "rate is shown to be higher.",
    )
    bad: float = Field(
        default=_POLICY.slow.rho_bad,
        gt=0,
        description="From how many times the champion's rate on the candidate is unacceptable. The step passes "
        "when its rate is shown to be lower.",
    )

    @model_validator(mode="after")
    def _order(self) -> Ratio:
        if self.bad <= self.ok:
            raise conflict("bad", "more than 'ok'", self.bad)
        return self


class Slow(Ratio):
    over: Duration | None = Field(
        default=None,
        gt=timedelta(0),
        description="An answer that takes longer than this is slow. null: the champion's 99th percentile when the "
        "canary starts.",
    )


class Rare(Ratio):
    bad: float = Field(
        default=_POLICY.errors.rho_bad,
        gt=0,
        description="From how many times the champion's rate on the candidate is unacceptable.",
    )
    budget: Share = Field(
        default=_POLICY.errors.budget or 0.001,
        description="Share of the candidate's requests that is acceptable in any case. The step passes when their "
        "share is shown to be lower, so that a release without a single one can pass: 0.1% takes about 5,100 "
        "requests without one, 0.05% twice as many.",
    )


class Watch(Section):
    """What a candidate is compared by with the champion while both take traffic, and afterwards."""

    after: Duration = Field(
        default=timedelta(hours=24),
        description="How long a release is watched after its promotion: it is compared with the champions before "
        "it, over the weeks before, and with its own canary. 0s: it is not watched.",
    )
    on_degradation: Literal["rollback", "tell"] = Field(
        default="rollback",
        description="What happens when a release degrades while it is watched. `rollback`: the former champion "
        "replaces it. `tell`: an event and the status report it. The first release of a model and the target of a "
        "rollback are never rolled back, and neither is a release that degrades together with all other models of "
        "the machine; these are only reported.",
    )
    errors: Rare = Field(
        default=Rare(), description="Answers with HTTP 5xx, and fallbacks after an error or a timeout."
    )
    slow: Slow = Field(default=Slow(), description="Answers that took too long, including timeouts.")
    fallbacks: Rare = Field(default=Rare(), description="Answers for which callers got the fallback.")
    missing: Rare = Field(default=Rare(), description="Answers without a finite score.")
    alerts: Annotated[Ratio | None, *or_word("off", "{ok: RATIO, bad: RATIO}")] = Field(
        default=Ratio(),
        description="Rows at or above the alert threshold. `off`: the alert rate is not judged, for a version that "
        "is meant to change it.",
    )
    alpha: Share = Field(
        default=_POLICY.alpha, description="Maximum probability of aborting a good release, over a whole rollout."
    )
    beta: Share = Field(
        default=_POLICY.beta,
        description="Maximum probability of passing an unacceptable release, for each step and metric.",
    )


class Retention(Section):
    """What is kept."""

    predictions: Duration = Field(
        default=timedelta(days=90),
        ge=timedelta(days=1),
        description="Age at which records in the prediction log are deleted.",
    )


class ModelDeployment(Section):
    """What is served, how it is rolled out, watched and kept."""

    api_version: Literal["serinus/v1"] = Field(
        default="serinus/v1", alias="apiVersion", description="The schema of the file."
    )
    kind: Literal["ModelDeployment"] = Field(
        default="ModelDeployment", description="The kind of the document, for tools that need it."
    )
    model: Name = Field(description="The registered model in MLflow. May be left out where the context names it.")
    caller: Caller = Field(default=Caller(), description=Caller.__doc__)
    serving: Serving = Field(default=Serving(), description=Serving.__doc__)
    alerts: Alerts = Field(default=Alerts(), description=Alerts.__doc__)
    gates: Gates = Field(default=Gates(), description=Gates.__doc__)
    rollout: Rollout = Field(default=Rollout(), description=Rollout.__doc__)
    watch: Watch = Field(default=Watch(), description=Watch.__doc__)
    retention: Retention = Field(default=Retention(), description=Retention.__doc__)

    @model_validator(mode="after")
    def _one_at_a_time(self) -> ModelDeployment:
        """Refuses a cache and batches for a model that answers differently to concurrent or batched rows."""
        if "one-at-a-time" in self.gates.accept:
            for name in ("cache", "batch"):
                if getattr(self.serving, name) is not None:
                    expected = "'off' where gates.accept has one-at-a-time"
                    raise conflict(f"serving.{name}", expected, "on" if name == "cache" else "a batch")
            if self.serving.rows == "together":
                raise conflict("serving.rows", "'each' where gates.accept has one-at-a-time", "together")
        return self
