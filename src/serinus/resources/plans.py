"""What a change of the fleet repository would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from serinus.resources.base import Answer
from serinus.resources.specs import FieldChange

Effect = Literal[
    "new", "release", "scale", "later", "nothing", "removed", "rollback", "rewritten", "unknown", "refused"
]


class PlannedChange(Answer):
    """The effect that one changed file of a model would have."""

    model: str
    file: str
    """The path in the fleet repository."""
    effect: Effect
    """`new`: the first release of the model. `release`: another release. `scale`: another scale for the live release.
    `later`: values that apply from the next deployment on. `nothing`: no value changes. `removed`: the spec is deleted.
    `rollback`: a former release becomes live. `rewritten`: Serinus writes the file again. `unknown`: Git does not
    say. `refused`: the file has a mistake."""
    summary: str
    """The effect in words. Empty where there is an error."""
    error: str = ""
    """Why the change would not be carried out, a line for each mistake. Empty: it would be."""
    hint: str = ""
    """What to do about the error. May be empty."""
    fields: Sequence[FieldChange] = ()
    """The values of the spec that change. Defaults count as if they were written."""
    steps: Sequence[str] = ()
    """What the rollout would go through, in order."""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    """Values of the spec that contradict each other or, by the answer of a server, cannot be reached."""
    server: Sequence[str] | None = None
    """What a control plane says of the spec. null: none was asked."""


class MergePlan(Answer):
    """What a change of the fleet repository would do after its merge."""

    since: str
    """The commit before the change."""
    until: str | None
    """The commit with the change. null: the working tree."""
    changes: Sequence[PlannedChange]
    """In the order in which they would be carried out."""
    notes: Sequence[str]
    """What else changes, and what Git does not say."""
    ok: bool
    """Whether everything would be carried out."""
