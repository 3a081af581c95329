"""The output of trials, as values. A model could have written it, so nothing here is trusted beyond its type and
size."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, JsonValue, NonNegativeInt, StringConstraints
from serinus_runtime.process.last_words import why_ended

from serinus.core.errors import Unbuildable
from serinus.core.examination import Question, Rehearsal, VersionDifference, Warned
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.core.text import one_line

LONGEST_ANSWER = 16 * 1024 * 1024
"""The number of bytes of the last line that are read."""
_LONGEST_REASON = 2000
_Words = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(one_line)]
_Word = Annotated[str, StringConstraints(max_length=300), AfterValidator(one_line)]
_MOST_WARNINGS = 20
_SCORES = {float, int, type(None)}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process that was asked a question has ended."""

    code: int
    """Its exit status. A signal is negative."""
    said: str
    """The last line of its standard output."""
    complained: str
    """The last words of its standard error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question."""

    document: Mapping[str, Any]
    seconds: float
    """The processor time that was used."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The files that the question wants returned, by their names."""


class Failed(Exception):
    """The process ended without an answer. The text says why, in words. `environment`: another environment might
    help."""

    def __init__(self, reason: str, *, environment: bool = True) -> None:
        super().__init__(reason)
        self.environment = environment


def document_of(ended: Ended) -> dict[str, Any]:
    """Returns the JSON object that the process printed last. Raises Failed."""
    try:
        answer = json.loads(ended.said)
    except (ValueError, RecursionError):
        answer = None
    if ended.code == 0 and isinstance(answer, dict):
        return answer
    told = answer if isinstance(answer, dict) else {}
    reason = one_line(str(told.get("error") or ended.complained)[:_LONGEST_REASON])
    # If the process could not say so itself, only a crash of native code is attributed to the environment.
    crashed = ended.code < 0 and ended.code != -signal.SIGKILL
    raise Failed(why_ended(ended.code, reason), environment=told.get("environment") is not False if told else crashed)


class _Warned(BaseModel):
    category: _Word
    library: _Word
    message: _Words
    own: bool


class _Version(BaseModel):
    library: _Word
    logged: _Word
    installed: _Word
    own: bool


class _Rehearsal(BaseModel):
    source: _Words
    document: dict[str, JsonValue] | None
    tensors: list[dict[str, JsonValue]] | None
    rows: Annotated[NonNegativeInt, Field(le=1_000_000_000)]
    answers: list[list[JsonValue]]
    reason: _Words
    refused: bool
    warnings: Annotated[list[_Warned], Field(max_length=_MOST_WARNINGS)]
    versions: Annotated[list[_Version], Field(max_length=_MOST_WARNINGS)]


def rehearsal_of(answer: Mapping[str, Any]) -> Rehearsal:
    """Raises ValueError if the answer is not a rehearsal."""
    said = _Rehearsal.model_validate(answer)
    question = None if said.document is None else Question(said.document, said.tensors)
    return Rehearsal(
        question=question,
        source=said.source,
        rows=said.rows,
        answers=tuple(tuple(row) for row in said.answers),
        reason=said.reason,
        refused=said.refused,
        warnings=tuple(Warned(**warned.model_dump()) for warned in said.warnings),
        versions=tuple(VersionDifference(**version.model_dump()) for version in said.versions),
    )


def scores_of(said: Any, rows: int) -> list[float | None] | None:
    """One number or None for each row. None where it is anything else."""
    if not isinstance(said, list) or len(said) != rows or not _SCORES.issuperset(map(type, said)):
        return None
    try:
        return [None if score is None else float(score) for score in said]
    except OverflowError:  # A whole number exceeds the range of floats.
        return None


def own_answers(said: Any, requests: Sequence[AnsweredRequest]) -> Sequence[OwnAnswer | None]:
    """Returns one answer for each request. Raises Unbuildable where there are more or fewer."""
    if not isinstance(said, list) or len(said) != len(requests):
        raise Unbuildable("The model's own predict did not give an answer to each request.")
    return [_own_answer(one, len(request.rows)) for one, request in zip(said, requests, strict=True)]


def _own_answer(said: Any, rows: int) -> OwnAnswer | None:
    """None also where it is not an answer, since there is nothing to compare with then."""
    if not isinstance(said, dict):
        return None
    scores, datatype = scores_of(said.get("scores"), rows), said.get("datatype")
    return OwnAnswer(scores, datatype) if scores is not None and isinstance(datatype, str) else None
