"""The ModelDeployment: what a data scientist keeps in the fleet repository for one model.

Every field has a default but `model`, and a description that becomes the reference (`serinus.spec.reference`).
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
        description="Name and type of every column that callers send, in MLflow's words. A version that needs "
        "another one is aborted at the gates. Left out: what the champion's signature says.",
    )


class Alerts(Section):
    """What counts as an alert."""

    budget: Share = Field(
        default=0.005,
        description="The share of rows that may alert: what analysts can look at. Recall is compared at this budget.",
    )
    threshold: float | None = Field(
        default=None,
        description="Score from which on a row is an alert. null: each release's own, derived at the gates so that "
        "`budget` of the evaluation rows alert.",
    )
    matures: Duration = Field(
        default=timedelta(days=30),
        le=timedelta(days=3650),
        description="How old a prediction is when its outcome is taken as final: how long chargebacks and cases take "
        "to arrive. Recall and precision in production are told apart for older and for younger predictions.",
    )


class Gates(Section):
    """What a version must show before it gets any traffic."""

    evaluation: str | None = Field(
        default="evaluation.parquet",
        min_length=1,
        description="Labelled rows on which the version must keep up with the champion: an artifact of the run or of "
        "the model, a path, or a URI. At most 200,000 rows, 5,000,000 cells and 512 MiB are read. null: none.",
    )
    label: str = Field(default="label", min_length=1, description="Its column that holds 1 for fraud and 0 for none.")
    entity: str = Field(
        default="entity",
        min_length=1,
        description="Its column that names whom a row is about, such as a card, where it has one. Rows of one entity, "
        "and copies of one row, depend on each other: the interval of the recall is wider for them.",
    )
    golden: str | None = Field(
        default="golden.json",
        min_length=1,
        description="Rows with the scores that they got at training time, which the served answers must equal; "
        "looked for like `evaluation`. null: none.",
    )
    recall_margin: Share = Field(
        default=0.05,
        description="How much lower than the champion's the recall at the alert budget may be, in points: passed "
        "when the interval's lower bound clears it, failed when the upper one does not, else inconclusive.",
    )
    latency_p99: Duration = Field(
        default=timedelta(milliseconds=100),
        gt=timedelta(0),
        description="Of one row at a time, on this machine, without load.",
    )
    memory: Size = Field(default=2**31, description="Of the worker after the gates' requests.")
    accept: tuple[Accepted, ...] = Field(
        default=(),
        description="What would stop a version at the gates and is accepted for this model. `one-at-a-time`: a model "
        "that answers differently in a batch is served one row at a time, uncached and marked. `unasked`: "
        "a version of which no row could be made to ask it with goes live all the same. `inconclusive-...`: that gate "
        "could not decide: for lack of rows or labels, or because the model's own library is of another version than "
        "the one that it was logged with, or warned while it loaded (`inconclusive-load`).",
    )


class RolloutStep(Section):
    traffic: Share = Field(description="The candidate's share of the model's traffic, in steps of 0.01%.")
    requests: int | None = Field(
        default=None,
        ge=1,
        description="How many the candidate must have answered before the step may be passed. null: 5,000, or its "
        "share of 40,000 where that is more (25%: 10,000; 50%: 20,000).",
    )
    for_: Duration = Field(default=timedelta(minutes=10), alias="for", description="How long the step lasts at least.")
    at_most: Duration = Field(
        default=timedelta(hours=24),
        gt=timedelta(0),
        description="Without a verdict by then the step is extended once by as much, then the rollout is aborted.",
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
        description="Each either a share or a mapping, growing; after the last the release is promoted to all "
        "traffic. Empty: promoted right after the gates.",
    )
    approval: Literal["none", "required"] = Field(
        default="none",
        description="`required`: waits before the first step until somebody else than who deployed approves. It also "
        "sets the model's policy, which no later spec loosens; `serinus policy` does, with the role approve.",
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
        description="The candidate's rate may be this many times the champion's; surely above it, the rollout is "
        "aborted.",
    )
    bad: float = Field(
        default=_POLICY.slow.rho_bad,
        gt=0,
        description="Unacceptable from this many times on: the step is passed when the rate is surely below it.",
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
        description="An answer that takes longer is slow. null: the champion's p99 when the canary starts.",
    )


class Rare(Ratio):
    bad: float = Field(default=_POLICY.errors.rho_bad, gt=0, description="Unacceptable from this many times on.")
    budget: Share = Field(
        default=_POLICY.errors.budget or 0.001,
        description="Of the candidate's requests. The step is passed when their share is surely below it, so that a "
        "release without a single one can be: 0.1% takes about 5,100 clean requests, 0.05% twice as many.",
    )


class Watch(Section):
    """What a candidate is compared by with the champion while both take traffic, and afterwards."""

    after: Duration = Field(
        default=timedelta(hours=24),
        description="For how long after its promotion a release is compared with what the champions before it showed "
        "in the weeks before, and with its own canary. 0s: not at all.",
    )
    on_degradation: Literal["rollback", "tell"] = Field(
        default="rollback",
        description="What happens when a release does worse in that time. `rollback`: the former champion takes its "
        "place. `tell`: an event and the status say so. The first release of a model, and the target of a rollback, "
        "are only told of. So is what happens to all models of the machine at once.",
    )
    errors: Rare = Field(
        default=Rare(), description="Answers with HTTP 5xx, and fallbacks after an error or a timeout."
    )
    slow: Slow = Field(default=Slow(), description="Answers that took too long, timeouts included.")
    fallbacks: Rare = Field(default=Rare(), description="Answers by the fallback.")
    missing: Rare = Field(default=Rare(), description="Answers without a finite score.")
    alerts: Annotated[Ratio | None, *or_word("off", "{ok: RATIO, bad: RATIO}")] = Field(
        default=Ratio(),
        description="Rows at or above the alert threshold. `off`: for a version that is meant to change the alert "
        "rate.",
    )
    alpha: Share = Field(
        default=_POLICY.alpha, description="Probability of aborting a good release, over a whole rollout."
    )
    beta: Share = Field(default=_POLICY.beta, description="Probability of passing a bad one, for each step and metric.")


class Retention(Section):
    """What is kept."""

    predictions: Duration = Field(
        default=timedelta(days=90),
        ge=timedelta(days=1),
        description="Age at which records of the prediction log are deleted.",
    )


class ModelDeployment(Section):
    """What is served, how it is rolled out, watched and kept."""

    api_version: Literal["serinus/v1"] = Field(
        default="serinus/v1", alias="apiVersion", description="The schema that the file is written in."
    )
    kind: Literal["ModelDeployment"] = Field(default="ModelDeployment", description="For tools that want to be told.")
    model: Name = Field(description="The registered model. May be left out where the context names it.")
    caller: Caller = Field(default=Caller(), description=Caller.__doc__)
    serving: Serving = Field(default=Serving(), description=Serving.__doc__)
    alerts: Alerts = Field(default=Alerts(), description=Alerts.__doc__)
    gates: Gates = Field(default=Gates(), description=Gates.__doc__)
    rollout: Rollout = Field(default=Rollout(), description=Rollout.__doc__)
    watch: Watch = Field(default=Watch(), description=Watch.__doc__)
    retention: Retention = Field(default=Retention(), description=Retention.__doc__)

    @model_validator(mode="after")
    def _one_at_a_time(self) -> ModelDeployment:
        """A model that answers differently in company has no one answer that could be kept or given together."""
        if "one-at-a-time" in self.gates.accept:
            for name in ("cache", "batch"):
                if getattr(self.serving, name) is not None:
                    expected = "'off' where gates.accept has one-at-a-time"
                    raise conflict(f"serving.{name}", expected, "on" if name == "cache" else "a batch")
            if self.serving.rows == "together":
                raise conflict("serving.rows", "'each' where gates.accept has one-at-a-time", "together")
        return self
