"""What turns a model into an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from serinus.core.release import Artifact, Compiled, Environment


class Compiler(Protocol):
    """Turns a model and its preprocessing into one ONNX graph. Implementations: backends/onnx."""

    def prepare(self) -> None:
        """Has the compiled environment built, so that the first deployment need not wait for it. Raises Unbuildable,
        Unavailable."""
        ...

    def compile(
        self,
        artifact: Artifact,
        environment: Environment,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        say: Callable[[str], None],
    ) -> Compilation:
        """Written in the model's own environment and asked `rows`, beside rows at the edges, in the compiled one; once
        for the same artifact, environment and rows, whoever asks at the same time. Never raises: a model that cannot
        be compiled is served as it is."""
        ...

    def distrust(self, digest: str) -> None:
        """The compiled model answers otherwise than the model: `compile` never gives it again. A later version of what
        writes graphs writes another one. Raises OSError."""
        ...

    def sweep(self, used: Collection[str]) -> None:
        """Removes what is kept of compiled models whose digest is not in `used` and that were not asked for since a
        day. Never raises: what cannot be removed now is tried the next time."""
        ...


class Compilation(Protocol):
    """What became of it. Row numbers are of the proof: first `rows` and the input example's, then the edges."""

    @property
    def compiled(self) -> Compiled | None: ...
    @property
    def reason(self) -> str:
        """Why there is no graph, in words."""
        ...

    @property
    def proof(self) -> Mapping[str, Any]:
        """The proof that `serinus_runtime.trials.prove` prints; empty where there is no graph."""
        ...
