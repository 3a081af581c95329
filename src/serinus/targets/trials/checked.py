"""Examines a model by asking questions, and checks the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serinus.core.errors import Unbuildable
from serinus.core.examination import GivenRows, Rehearsal
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.core.release import Release
from serinus.targets.trials import questions
from serinus.targets.trials.answers import Answer, Failed, own_answers, rehearsal_of, scores_of
from serinus.targets.trials.questions import Question


@dataclass(frozen=True, slots=True)
class Rescored:
    """Implements `core.ports.Rescored`."""

    answers: Sequence[OwnAnswer | None]
    seconds: float


class CheckedTrials(ABC):
    """Implements `core.ports.Rescorer`, and all of `core.ports.Trials` but the reading of files. A target says where
    questions are asked."""

    @abstractmethod
    def _answer(self, question: Question) -> Answer:
        """Asks a confined process. Raises Failed where the model gives no answer, and TemporaryError where it could not
        be asked."""

    def scan(self, artifact: str) -> Mapping[str, Any]:
        """Raises Unbuildable where the files cannot be scanned."""
        try:
            return self._answer(questions.scanning(artifact)).document
        except Failed as error:
            raise Unbuildable(f"The model's files cannot be scanned: {error}") from error

    def loads(self, environment: str, artifact: str) -> str | None:
        """See `core.ports.Trials`."""
        try:
            self._answer(questions.loading(environment, artifact))
        except Failed as error:
            if not error.environment:
                raise Unbuildable(f"The model does not load: {error}.") from error
            return str(error)
        return None

    def reference(
        self,
        environment: str,
        artifact: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        score_output: str | None,
    ) -> Sequence[float | None]:
        """See `core.ports.Trials`."""
        try:
            answer = self._answer(questions.reference(environment, artifact, columns, rows, score_output))
        except Failed as error:
            raise Unbuildable(f"The model's own predict gives no scores for the rows: {error}") from error
        scores = scores_of(answer.document.get("scores"), len(rows))
        if scores is None:
            raise Unbuildable("The model's own predict did not give one score a row.")
        return scores

    def rehearse(self, release: Release, given: GivenRows | None) -> Rehearsal:
        """See `core.ports.Trials`."""
        try:
            answer = self._answer(questions.rehearsal(release, given))
        except Failed as error:
            raise Unbuildable(f"The model does not load: {error}") from error
        try:
            return rehearsal_of(answer.document)
        except (ValueError, RecursionError) as error:  # A model can write to the answer.
            raise Unbuildable("The model's process answered something that the runtime does not say.") from error

    def rescore(self, release: Release, requests: Sequence[AnsweredRequest]) -> Rescored:
        """See `core.ports.Rescorer`."""
        try:
            answer = self._answer(questions.rescoring(release, requests))
        except Failed as error:
            raise Unbuildable(str(error)) from error
        return Rescored(own_answers(answer.document.get("answers"), requests), answer.seconds)
