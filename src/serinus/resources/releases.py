"""Releases and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from pydantic import ConfigDict

from serinus.core.release import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRelease(Release):
    """A release, whole, with its last rollout and how it runs."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    champion: bool
    """Whether it is live."""
    rollout: str | None
    """The last one that it was the candidate of; null: there was none."""
    phase: str | None
    """Of that rollout."""
    reason: str
    """Of that rollout's phase, in words; may be empty."""
    placement: str
    """`starting`, `ready`, `scaled-to-zero`, `failed` or `not running`."""
    runs: str
    """The same with the number of workers: `ready × 3`."""
    memory_bytes: int | None
    """null: it has no process, or that cannot be read."""
    restarts: int
    workers: int
    way: str
    """How it predicts: `onnx`, `matrix`, `direct` or `mlflow`; empty: it does not run."""
    remarks: str
    """Why it does not run as it should; may be empty."""

    @classmethod
    def of(cls, release: Release, **more: Any) -> Self:
        return cls(**{one.name: getattr(release, one.name) for one in fields(Release)}, **more)
