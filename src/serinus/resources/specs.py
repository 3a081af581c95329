"""ModelDeployments: what is in force, what would change, and what holds whatever they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from serinus.resources.base import Answer, Name, Request, SpecName, SpecText


class SpecField(Answer):
    """One field of a spec that is in force."""

    field: str
    """`rollout.steps`"""
    text: str
    """As it would be written in YAML, without credentials."""
    line: int | None
    """Of the file that says it; null: the file does not."""
    origin: Literal["file", "default", "policy"]
    """Where the value comes from."""
    note: str
    """What else there is to know of it; may be empty."""


class NotYetInForce(Answer):
    """A field that the champion does not go by yet: it was deployed by another spec."""

    field: str
    before: str
    """What the champion goes by."""
    after: str
    """What the spec says."""
    line: int | None = None


class SpecInForce(Answer):
    model: str
    file: str
    """Of the fleet repository."""
    spec: str
    """YAML text, without credentials."""
    fields: Sequence[SpecField]
    release: str | None
    """The champion; null: there is none."""
    not_yet: Sequence[NotYetInForce]


class SpecToCompare(Request):
    """A spec that is compared with the one that is kept."""

    spec: SpecText
    spec_name: SpecName = "<spec>"
    model: Name | None = None
    """Needed where the spec does not name it."""


class FieldChange(Answer):
    field: str
    before: str
    after: str
    line: int | None
    """Of the new spec; null: the new value is the default."""


class Difference(Answer):
    """What a deployment by a spec would change."""

    model: str
    before: str | None
    """The file that is kept; null: there is none."""
    same: bool
    """Nothing would change."""
    changes: Sequence[FieldChange]
    effects: Sequence[str]
    """What follows beyond the fields, a sentence each; how long the canary would take among them."""
    warnings: Sequence[str]
    """What the spec asks for that contradicts itself or cannot be reached."""


class InitialSpec(Answer):
    model: str
    spec: str
    """YAML text."""


class HeldPolicy(Answer):
    """What holds for every deployment of a model, whatever its spec says."""

    model: str
    approval: Literal["none", "required"]
    except_of: str
    """Whose deployments need an approval all the same, because they said that none is needed; may be empty."""
