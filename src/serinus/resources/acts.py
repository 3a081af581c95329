"""Deployments, orders, rollbacks, retirements and policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from serinus.core.text import one_line
from serinus.resources.base import Answer, Name, Request, SpecName, SpecText, Why


class Deployment(Request):
    """A deployment of a version by `ref`, by a spec, or by both."""

    why: Why = ""
    ref: Name | None = None
    """Such as `card-fraud@7` or `card-fraud@challenger`."""
    spec: SpecText | None = None
    spec_name: SpecName = "<spec>"
    supersede: bool = False
    """Replace a rollout of the same model that is in flight."""


class OrderRequest(Request):
    """An order to a rollout in flight."""

    why: Why = ""
    kind: Literal["promote", "abort", "approve"]


class RollbackRequest(Request):
    """A rollback."""

    why: Why = ""
    to: Name | None = None
    """A release id or a version. null: the champion before."""


class Retirement(Request):
    """The retirement of a model."""

    why: Annotated[
        str,
        Field(min_length=1, max_length=2000, description="Why; kept in the audit record."),
        AfterValidator(one_line),
    ]
    abort: bool = False
    """End a rollout of the model that is in flight."""


class PolicyRequest(Request):
    """A change of the policy of a model."""

    why: Why = ""
    approval: Literal["none", "required"]
    """`required`: another person than the requester must approve each version before it gets traffic."""


class EstimatedStep(Answer):
    """One step of a canary."""

    traffic: float
    """The canary's share of the requests, from 0 to 1."""
    requests: int | None
    """Requests of the canary until the step passes. null: it never does."""
    seconds: float | None
    """Seconds until the step passes. null: it never does."""
    slowest: str
    """The metric that takes longest, or another condition of the step."""
    metrics: Mapping[str, int | None]
    """Requests of the canary until it is cleared, by metric. null: it never is."""


class Estimate(Answer):
    """The expected duration of the canary of a version as good as the champion, at the present traffic."""

    per_second: float
    """Requests to the model per second."""
    steps: Sequence[EstimatedStep]
    seconds: float | None
    """The duration of all steps together. null: a step never passes."""
    text: str
    """The same in words."""


class Deployed(Answer):
    """The result of a deployment, a rollback or a retirement."""

    rollout: str | None
    """The id of the rollout. null: none was needed."""
    done: bool
    """Whether there was nothing to do."""
    message: str
    warnings: Sequence[str] = ()
    """Values of the spec that contradict each other or cannot be reached."""
    estimate: Estimate | None = None
    """The estimate of the canary. null: the model has no traffic, or no champion to compare with."""
