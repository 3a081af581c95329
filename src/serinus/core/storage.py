"""Files that are kept on this machine and can be made again: which there are, and how one is removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """One environment, artifact, graph or log."""

    name: str
    """Digest; of a log the release."""
    paths: tuple[Path, ...]
    used_at: float
    """Unix time at which it was made, or last asked for by who makes it."""


class Storage(Protocol):
    """One kind of them. One contract suite, `tests/contracts/test_storage.py`, runs on every implementation:
    backends/uv, backends/mlflow, backends/onnx, targets/local/host."""

    @property
    def kind(self) -> str:
        """`environments`, `artifacts`, `graphs`, `logs`."""
        ...

    def stored(self) -> Sequence[Stored]:
        """What is stored completely. Never raises for one that goes away meanwhile."""
        ...

    def remove(self, name: str, since: float) -> bool:
        """Removes it, unless it was made or asked for at `since` (unix time) or later, or is being made; whether it is
        gone. It is whole under its name until it is not there at all, and what a kill leaves of it is removed by the
        next `remove`. Whoever needs it again makes it again. Raises OSError."""
        ...
