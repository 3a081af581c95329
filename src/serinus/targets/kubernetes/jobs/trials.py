"""Trials of a model in a cluster: each question is a Job."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serinus.core.errors import Unbuildable
from serinus.core.examination import ReadRows
from serinus.core.ports import RowFiles
from serinus.targets.kubernetes.jobs.jobs import Jobs
from serinus.targets.trials import Answer, CheckedTrials, Failed, Question


class ClusterTrials(CheckedTrials):
    """Implements `core.ports.Trials` and `core.ports.Rescorer`."""

    def __init__(self, jobs: Jobs, image_of: Callable[[str, str | None], str], files: RowFiles) -> None:
        """`image_of`: `registry/repository@sha256:...` with an artifact and an environment, which are named by their
        digests; None: with no environment. It is built and pushed where it is not there yet; raises Unbuildable,
        InvalidInput or Unavailable. `files` reads files of rows, which hold no code."""
        self._jobs, self._image_of, self._files = jobs, image_of, files

    def golden(self, file: Path) -> ReadRows:
        return self._files.golden(file)

    def evaluation(self, file: Path, label: str, entity: str, inputs: Sequence[str] | None) -> ReadRows:
        return self._files.evaluation(file, label, entity, inputs)

    @contextmanager
    def ask(
        self,
        environment: str,
        module: str,
        artifact: str,
        *,
        also: Sequence[Path] = (),
        returned: str = "",
        **config: Any,
    ) -> Iterator[tuple[Mapping[str, Any], Path]]:
        """The answer of `serinus_runtime.<module>`, asked with `config`, and a directory with what the process wrote to
        the directory `returned`. A dict in `config` is given as a file, and a directory of `also` with its files.

        Raises Unbuildable, and Unavailable where the cluster does not answer.
        """
        sent = {name: Path(value) for name, value in config.items() if value in map(str, also)}
        files = {name: value for name, value in config.items() if isinstance(value, Mapping)}
        question = Question(
            module,
            artifact,
            environment,
            told={name: value for name, value in config.items() if name not in (*sent, *files)},
            files=files,
            directories={name: _contents(directory) for name, directory in sent.items()},
            returned=returned,
        )
        try:
            answer = self._answer(question)
        except Failed as error:
            raise Unbuildable(str(error)) from error
        with tempfile.TemporaryDirectory(prefix="serinus-") as made:
            directory = Path(made, returned)
            directory.mkdir(exist_ok=True)
            for name, content in answer.files.items():
                (directory / name).write_bytes(content)
            yield answer.document, Path(made)

    def _answer(self, question: Question) -> Answer:
        try:
            image = self._image_of(question.artifact, question.environment)
        except Unbuildable as error:  # Another environment may have wheels for the platform.
            raise Failed(str(error)) from error
        return self._jobs.ask(image, question)


def _contents(directory: Path) -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}
