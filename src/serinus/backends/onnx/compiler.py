"""Compiles models, proves the graphs and keeps them. The reason why a model cannot be compiled is kept as well."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from serinus_runtime.compiling import WRITER
from serinus_runtime.isolation import written
from serinus_runtime.model.compiled import FILES

from serinus.backends.onnx.environment import requirements
from serinus.backends.onnx.kept import Kept
from serinus.core.errors import SerinusError, Unbuildable
from serinus.core.ports import Environments
from serinus.core.release import Artifact, Compiled, Environment
from serinus.core.storage import Stored

log = logging.getLogger(__name__)

_FOR_THE_PROOF = ("proof.json", "answers.npy", "margins.npy", "margins.onnx")
COMPILED = "compiled"
"""The directory to which `compiling.convert` writes."""
_LARGEST_FILE = 512 << 20
"""In bytes."""
_LONGEST_WORDS = 300


class Ask(Protocol):
    """Runs `serinus_runtime.<module>` in a confined process. Implementations: targets/local/host (`Trials.ask`),
    targets/kubernetes/jobs (`ClusterTrials.ask`)."""

    def __call__(
        self,
        environment: str,
        module: str,
        artifact: str,
        *,
        also: Sequence[Path] = (),
        returned: str = "",
        **config: Any,
    ) -> AbstractContextManager[tuple[Mapping[str, Any], Path]]:
        """Returns the answer and the directory to which the process wrote, in which the directory `returned` is needed.
        `environment` and `artifact` are digests. The process may read the directories `also`.

        Raises Unbuildable, and Unavailable where the process cannot be run now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Compilation:
    """Implements `core.ports.Compilation`."""

    compiled: Compiled | None = None
    reason: str = ""
    proof: Mapping[str, Any] = field(default_factory=dict)


class OnnxCompiler:
    """Implements `core.ports.Compiler` and `core.storage.Storage`."""

    def __init__(self, directory: Path, environments: Environments, ask: Ask) -> None:
        """`environments` builds the compiled environment. It must not add packages to the requirements."""
        self._kept = Kept(directory)
        self._environments = environments
        self._ask = ask
        self._digest: str | None = None

    def prepare(self) -> None:
        self._environment(lambda _: None)

    def compile(
        self,
        artifact: Artifact,
        environment: Environment,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        say: Callable[[str], None],
    ) -> Compilation:
        table = {"columns": list(columns), "rows": [list(row) for row in rows]}
        text = json.dumps(table, default=str)  # Dates of an evaluation set. Models with dates cannot be compiled.
        try:
            ours = self._environment(say)
            question = _question(artifact, environment, ours, text)
            with self._kept.answering(question):
                answer = self._kept.answer(question)
                if answer is None:
                    answer = self._answer(artifact, environment, ours, json.loads(text))
                    self._kept.keep(question, answer)
        except (SerinusError, OSError) as error:
            # The failure is not kept, because a later attempt with more memory or less load may succeed.
            return Compilation(reason=f"compiling it failed: {error}")
        digest = answer["digest"]
        if digest is None:
            return Compilation(reason=answer["reason"])
        if self._kept.condemned(digest):
            return Compilation(reason="in production its graph answered differently from the model itself")
        return Compilation(Compiled(digest, ours.digest), proof=answer["proof"])

    def distrust(self, digest: str) -> None:
        self._kept.condemn(digest)

    def sweep(self, used: Collection[str]) -> None:
        """Removes compiled models whose digest is not in `used` and that were not requested within the last day.

        Never raises. What cannot be removed now is removed by a later call.
        """
        try:
            self._kept.sweep(used)
        except OSError as error:
            log.warning("compiled models that nobody uses could not be removed: %s", error)

    @property
    def kind(self) -> str:
        return "graphs"

    def stored(self) -> Sequence[Stored]:
        return self._kept.stored()

    def remove(self, name: str, since: float) -> bool:
        return self._kept.remove(name, since)

    @property
    def environment(self) -> str | None:
        """Returns the digest of the compiled environment. None: it was not requested since this process started."""
        return self._digest

    def _environment(self, say: Callable[[str], None]) -> Environment:
        environment = self._environments.prepare(requirements(), lambda _: None, say)
        self._digest = environment.digest
        return environment

    def _answer(
        self, artifact: Artifact, environment: Environment, ours: Environment, table: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Compiles and proves the model. Raises Unbuildable where a process fails or takes too long."""
        with self._ask(environment.digest, "compiling.convert", artifact.digest, returned=COMPILED, rows=table) as (
            written,
            scratch,
        ):
            if "unsupported" in written:
                what = str(written["unsupported"])[:_LONGEST_WORDS]
                return {"digest": None, "reason": f"{what} cannot be compiled", "proof": {}}
            with (
                _copied(scratch / COMPILED) as directory,
                self._ask(ours.digest, "trials.prove", artifact.digest, also=[directory], compiled=str(directory)) as (
                    proof,
                    _,
                ),
            ):
                return {"digest": self._kept.add(directory), "reason": "", "proof": proof}


@contextmanager
def _copied(directory: Path) -> Iterator[Path]:
    """Yields a copy of what the model's process wrote, which that process cannot replace. Raises Unbuildable where
    files are missing or wrong."""
    with tempfile.TemporaryDirectory(prefix="serinus-") as made:
        try:
            for name in (*FILES, *_FOR_THE_PROOF):
                with contextlib.suppress(FileNotFoundError):  # The reader reports it.
                    Path(made, name).write_bytes(written.content(directory / name, _LARGEST_FILE))
        except ValueError as error:
            raise Unbuildable(f"The compiled model cannot be used: {error}.") from error
        yield Path(made)


def _question(artifact: Artifact, environment: Environment, ours: Environment, rows: str) -> str:
    """Returns a digest of everything that the result depends on. The digest of the artifact covers the signature, those
    of the environments their versions."""
    asked = [WRITER, artifact.digest, environment.digest, ours.digest, rows]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
