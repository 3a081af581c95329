"""The releases and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from pydantic import ConfigDict

from serinus.core.release import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRelease(Release):
    """A whole release, with its last rollout and how it runs."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    champion: bool
    """Whether it is live."""
    rollout: str | None
    """The last rollout with it as the candidate. null: there was none."""
    phase: str | None
    """The phase of that rollout."""
    reason: str
    """The reason of that phase, in words. May be empty."""
    placement: str
    """`starting`, `ready`, `scaled-to-zero`, `failed` or `not running`."""
    runs: str
    """The placement with the number of workers: `ready × 3`."""
    memory_bytes: int | None
    """null: it has no process, or its memory cannot be read."""
    restarts: int
    workers: int
    way: str
    """How it predicts: `onnx`, `matrix`, `direct` or `mlflow`. Empty: it does not run."""
    remarks: str
    """What is wrong with it. May be empty."""

    @classmethod
    def of(cls, release: Release, **more: Any) -> Self:
        """Returns the release with further fields."""
        return cls(**{one.name: getattr(release, one.name) for one in fields(Release)}, **more)
