"""Deployments, orders, rollbacks, retirements and policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from serinus.core.text import one_line
from serinus.resources.base import Answer, Name, Request, SpecName, SpecText, Why


class Deployment(Request):
    """A version by `ref`, a spec, or both."""

    why: Why = ""
    ref: Name | None = None
    """`card-fraud@7`, `card-fraud@challenger`."""
    spec: SpecText | None = None
    spec_name: SpecName = "<spec>"
    supersede: bool = False
    """Take the place of a rollout of the same model that is in flight."""


class OrderRequest(Request):
    why: Why = ""
    kind: Literal["promote", "abort", "approve"]


class RollbackRequest(Request):
    why: Why = ""
    to: Name | None = None
    """A release id or a version; null: the champion before."""


class Retirement(Request):
    why: Annotated[
        str,
        Field(min_length=1, max_length=2000, description="Why; kept in the audit record."),
        AfterValidator(one_line),
    ]
    abort: bool = False
    """End a rollout of the model that is in flight."""


class PolicyRequest(Request):
    why: Why = ""
    approval: Literal["none", "required"]
    """`required`: somebody other than the requester approves each version before it gets traffic."""


class EstimatedStep(Answer):
    """One step of a canary."""

    traffic: float
    """Share of the requests that the canary gets, from 0 to 1."""
    requests: int | None
    """Of the canary, until the step is passed; null: it is never passed."""
    seconds: float | None
    """Until the step is passed; null: it is never passed."""
    slowest: str
    """The metric that takes longest, or what else the step waits for."""
    metrics: Mapping[str, int | None]
    """Metric -> requests of the canary until it is cleared; null: it never is."""


class Estimate(Answer):
    """How long the canary of a version as good as the champion takes, at the present traffic."""

    per_second: float
    """Requests to the model."""
    steps: Sequence[EstimatedStep]
    seconds: float | None
    """Of all steps together; null: there is a step that is never passed."""
    text: str
    """The same in words."""


class Deployed(Answer):
    """What came of a deployment, a rollback or a retirement."""

    rollout: str | None
    """Its id; null: no rollout was needed."""
    done: bool
    """There was nothing to do."""
    message: str
    warnings: Sequence[str] = ()
    """What the spec asks for that contradicts itself or cannot be reached."""
    estimate: Estimate | None = None
    """Of the canary; null: the model has no traffic, or nothing is live that it could be compared with."""
