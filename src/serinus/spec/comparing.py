"""What one spec says otherwise than another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serinus.spec.schema import ModelDeployment
from serinus.spec.section import Section


def differing(one: ModelDeployment, other: ModelDeployment) -> list[str]:
    """The fields whose meaning differs, as `rollout.steps`; defaults count as if they were written."""
    return list(_differing(one, other, ""))


def _differing(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, Section) and type(one) is type(other):
        for name, field in type(one).model_fields.items():
            word = field.alias or name
            yield from _differing(getattr(one, name), getattr(other, name), f"{path}.{word}" if path else word)
    elif one != other:
        yield path
