"""What builds the environments that models run in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from serinus.core.release import Environment, Requirements


class Environments(Protocol):
    """Builds what a model runs in. Implementations: backends/uv."""

    def prepare(
        self,
        requirements: Requirements,
        loads: Callable[[Environment], str | None],
        say: Callable[[str], None],
    ) -> Environment:
        """The environment for `requirements`, built at most once for one lock, whoever asks at the same time.

        `loads` is asked of a built environment and answers None, or the reason why the model does not load in it:
        then another lock is tried, as of another day or from `alternatives`. Where no environment would help it raises
        Unbuildable, and nothing else is built. `say` gets progress, a line each. Raises Unbuildable with the reason in
        words, Unavailable.
        """
        ...
