"""What looks at a model in a confined process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from serinus.core.examination import GivenRows, ReadRows, Rehearsal
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.core.release import Release


class Trials(Protocol):
    """Looks at a model in a confined process of its own. Artifacts and environments are named by their digests.
    Implementations: targets/local/host."""

    def scan(self, artifact: str) -> Mapping[str, Any]:
        """What its pickles would import, without loading anything: `{"pickles": [{"file", "imports"}], "other"}`."""
        ...

    def loads(self, environment: str, artifact: str) -> str | None:
        """None: it loads in that environment; else why not, in words. Raises Unbuildable where it would load in no
        other either: a file is lost, a module of the model's own, or it needs too much memory or time."""
        ...

    def reference(
        self,
        environment: str,
        artifact: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        score_output: str | None,
    ) -> Sequence[float | None]:
        """The scores that the model's own `predict` gives for a frame of these rows: the training path.
        Raises Unbuildable with the reason."""
        ...

    def rehearse(self, release: Release, given: GivenRows | None) -> Rehearsal:
        """Loads the release's model and asks its own `predict` for the first time: with its input example, else the
        `given` rows, else rows that are made for it. Raises Unbuildable where it does not load."""
        ...

    def golden(self, file: Path) -> ReadRows:
        """The rows of a JSON file, with the scores of training time where it has them. InvalidInput says what is wrong
        with the file, or that it is larger than what is read."""
        ...

    def evaluation(self, file: Path, label: str, entity: str, inputs: Sequence[str] | None) -> ReadRows:
        """The labelled rows of a Parquet, CSV or JSON-lines file. `inputs`: the model's columns; None: all but the
        label. Errors as of `golden`."""
        ...


class Rescorer(Protocol):
    """Answers again what a shorter way has answered, behind everything else. Implementations: targets/local/host."""

    def rescore(self, release: Release, requests: Sequence[AnsweredRequest]) -> Rescored:
        """By the model's own predict, each request by itself, in a confined process of its own and of the lowest
        priority. Raises Unbuildable with the reason: the model does not load, or takes too long."""
        ...


class Rescored(Protocol):
    """`answers`: one a request, None where the model did not answer it. `seconds`: of processor time."""

    @property
    def answers(self) -> Sequence[OwnAnswer | None]: ...
    @property
    def seconds(self) -> float: ...
