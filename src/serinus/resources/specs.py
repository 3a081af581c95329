"""ModelDeployments: the spec in force, the effects of another one, and policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from serinus.resources.base import Answer, Name, Request, SpecName, SpecText


class SpecField(Answer):
    """One field of a spec in force."""

    field: str
    """Such as `rollout.steps`."""
    text: str
    """The value as it would be written in YAML, without credentials."""
    line: int | None
    """The line of the file that sets it. null: the file does not."""
    origin: Literal["file", "default", "policy"]
    """The origin of the value."""
    note: str
    """Further information. May be empty."""


class NotYetInForce(Answer):
    """A field that does not apply to the champion yet, because another spec deployed it."""

    field: str
    before: str
    """The value that applies to the champion."""
    after: str
    """The value in the spec."""
    line: int | None = None


class SpecInForce(Answer):
    """The spec in force of a model."""

    model: str
    file: str
    """The path in the fleet repository."""
    spec: str
    """YAML text, without credentials."""
    fields: Sequence[SpecField]
    release: str | None
    """The champion. null: there is none."""
    not_yet: Sequence[NotYetInForce]


class SpecToCompare(Request):
    """A spec to compare with the one in force."""

    spec: SpecText
    spec_name: SpecName = "<spec>"
    model: Name | None = None
    """Required where the spec does not name the model."""


class FieldChange(Answer):
    """The change of one field."""

    field: str
    before: str
    after: str
    line: int | None
    """The line of the new spec. null: the new value is the default."""


class Difference(Answer):
    """The effects of a deployment by a spec."""

    model: str
    before: str | None
    """The file in the fleet repository. null: there is none."""
    same: bool
    """Whether nothing would change."""
    changes: Sequence[FieldChange]
    effects: Sequence[str]
    """Effects beyond the fields, a sentence each, including the expected duration of the canary."""
    warnings: Sequence[str]
    """Values of the spec that contradict each other or cannot be reached."""


class InitialSpec(Answer):
    """The first spec of a model."""

    model: str
    spec: str
    """YAML text."""


class HeldPolicy(Answer):
    """The policy of a model, which holds for every deployment whatever its spec says."""

    model: str
    approval: Literal["none", "required"]
    except_of: str
    """The person whose deployments need an approval all the same, because they have loosened the policy. May be
    empty."""
