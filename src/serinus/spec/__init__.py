"""The ModelDeployment: its schema, its defaults, and errors that name the file, line and field."""

from serinus.spec.comparing import Change, Value, changes, differing, values
from serinus.spec.loading import load
from serinus.spec.planning import (
    SCALE,
    accepts,
    approval_required,
    behaves_alike,
    compiles,
    matures,
    policy,
    rolls_back,
    scale,
    settings,
    slow_ms,
    steps,
    watched_for,
)
from serinus.spec.reference import reference, schema
from serinus.spec.schema import ModelDeployment
from serinus.spec.writing import Facts, dump, initial

__all__ = [
    "SCALE",
    "Change",
    "Facts",
    "ModelDeployment",
    "Value",
    "accepts",
    "approval_required",
    "behaves_alike",
    "changes",
    "compiles",
    "differing",
    "dump",
    "initial",
    "load",
    "matures",
    "policy",
    "reference",
    "rolls_back",
    "scale",
    "schema",
    "settings",
    "slow_ms",
    "steps",
    "values",
    "watched_for",
]
