"""Trials, which examine a model in a confined process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from serinus.core.examination import GivenRows, ReadRows, Rehearsal
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.core.release import Release


class RowFiles(Protocol):
    """Reads files of rows in a confined process. Nothing of a model is loaded. Implementations: targets/local/host."""

    def golden(self, file: Path) -> ReadRows:
        """Reads golden rows from a JSON file, with their scores at training time where the file has them.

        Raises InvalidInput where the file is malformed or too large.
        """
        ...

    def evaluation(self, file: Path, label: str, entity: str, inputs: Sequence[str] | None) -> ReadRows:
        """Reads the labelled rows of a Parquet, CSV or JSON-lines file.

        `inputs` are the columns of the model. None: all columns except the label. Raises InvalidInput as `golden` does.
        """
        ...


class Trials(RowFiles, Protocol):
    """Examines models in confined processes. Artifacts and environments are named by their digests. Implementations:
    targets/local/host, targets/kubernetes/jobs.

    Every method raises Unavailable where the process cannot be run now, with the reason in words.
    """

    def scan(self, artifact: str) -> Mapping[str, Any]:
        """Returns what the artifact's pickles would import, without loading them: `{"pickles": [{"file", "imports"}],
        "other"}`."""
        ...

    def loads(self, environment: str, artifact: str) -> str | None:
        """Loads the model in the environment. Returns None where it loads, or else the reason in words.

        Raises Unbuildable where it would load in no environment: a file or a module of the model's own is missing, or
        it needs too much memory or time.
        """
        ...

    def reference(
        self,
        environment: str,
        artifact: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        score_output: str | None,
    ) -> Sequence[float | None]:
        """Returns the scores that the model's own `predict` gives for a frame of these rows. Raises Unbuildable."""
        ...

    def rehearse(self, release: Release, given: GivenRows | None) -> Rehearsal:
        """Loads the model of the release and calls its own `predict` for the first time.

        It is called with the input example, or else with the `given` rows, or else with rows that are made for it.
        Raises Unbuildable where the model does not load.
        """
        ...


class Rescorer(Protocol):
    """Predicts logged requests again, at the lowest priority. Implementations: targets/local/host,
    targets/kubernetes/jobs."""

    def rescore(self, release: Release, requests: Sequence[AnsweredRequest]) -> Rescored:
        """Predicts each request by itself with the model's own `predict`, in a confined process.

        Raises Unbuildable where the model does not load or takes too long, and Unavailable where it cannot be run now.
        """
        ...


class Rescored(Protocol):
    """The result of `rescore`."""

    @property
    def answers(self) -> Sequence[OwnAnswer | None]:
        """One answer for each request. None: the model did not answer it."""

    @property
    def seconds(self) -> float:
        """The processor time that was used."""
