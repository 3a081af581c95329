"""Files on this machine that can be made again, so that they may be removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """One environment, artifact, graph or log."""

    name: str
    """The digest, or the release of a log."""
    paths: tuple[Path, ...]
    used_at: float
    """The Unix time at which it was made or last requested."""


class Storage(Protocol):
    """The files of one kind. One contract suite, `tests/contracts/test_storage.py`, runs on every implementation:
    backends/uv, backends/mlflow, backends/onnx, targets/local/host."""

    @property
    def kind(self) -> str:
        """`environments`, `artifacts`, `graphs` or `logs`."""
        ...

    def stored(self) -> Sequence[Stored]:
        """Returns everything that is stored completely. Files that disappear meanwhile are left out."""
        ...

    def remove(self, name: str, since: float) -> bool:
        """Removes it, and returns whether it is gone.

        It is kept where it was made or requested at `since` (Unix time) or later, or is being made. It stays complete
        under its name until it is gone. The next `remove` deletes the remains of an interrupted one. Raises OSError.
        """
        ...
