"""Trials of a model in a cluster: each question is a Job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

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

    def _answer(self, question: Question) -> Answer:
        try:
            image = self._image_of(question.artifact, question.environment)
        except Unbuildable as error:  # Another environment may have wheels for the platform.
            raise Failed(str(error)) from error
        return self._jobs.ask(image, question)
