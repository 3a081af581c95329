"""The compiler of models to ONNX graphs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from serinus.core.release import Artifact, Compiled, Environment


class Compiler(Protocol):
    """Compiles a model and its preprocessing to one ONNX graph. Implementations: backends/onnx."""

    def prepare(self) -> None:
        """Builds the compiled environment, so that the first deployment need not wait for it. Raises Unbuildable."""
        ...

    def compile(
        self,
        artifact: Artifact,
        environment: Environment,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        say: Callable[[str], None],
    ) -> Compilation:
        """Compiles a model in its own environment, and proves the graph in the compiled environment.

        The proof compares the answers to `rows` and to further rows at the edges. The same artifact, environment and
        rows are compiled only once, also by concurrent callers. `say` gets the progress, a line at a time. Never
        raises: a model that cannot be compiled is served by its own libraries.
        """
        ...

    def distrust(self, digest: str) -> None:
        """Records that a compiled model answers differently from its model. `compile` never returns this graph again.

        A later version of the converter, which writes a different graph, is not affected. Raises OSError.
        """
        ...

    def sweep(self, used: Collection[str]) -> None:
        """Removes compiled models whose digest is not in `used` and that were not requested within the last day.

        Never raises. What cannot be removed now is removed by a later call.
        """
        ...


class Compilation(Protocol):
    """The result of a compilation.

    Rows in `proof` are numbered: first `rows` and the input example's, then those at the edges.
    """

    @property
    def compiled(self) -> Compiled | None:
        """The compiled model. None: there is none."""

    @property
    def reason(self) -> str:
        """Why there is no compiled model, in words."""
        ...

    @property
    def proof(self) -> Mapping[str, Any]:
        """The proof that `serinus_runtime.trials.prove` prints. Empty where there is no graph."""
        ...
