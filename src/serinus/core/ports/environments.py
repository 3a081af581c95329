"""The builder of environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from serinus.core.release import Environment, Requirements


class Environments(Protocol):
    """Builds the environments that models run in. Implementations: backends/uv."""

    def prepare(
        self,
        requirements: Requirements,
        loads: Callable[[Environment], str | None],
        say: Callable[[str], None],
    ) -> Environment:
        """Returns an environment for `requirements`. The same lock is built only once, also by concurrent callers.

        `loads` tries the model in a built environment. It returns None where the model loads, or else the reason.
        Another lock is then tried: as of another date, or from `requirements.alternatives`. `loads` raises Unbuildable
        where no environment would help. `say` gets the progress, a line at a time. Raises Unbuildable with the reason
        in words.
        """
        ...
