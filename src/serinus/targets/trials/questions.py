"""Questions to a process that has a model's files, each answered by one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from serinus.core.examination import GivenRows
from serinus.core.predictions import AnsweredRequest
from serinus.core.release import Release

_ROWS_ASKED, _ROWS_TOGETHER = 50, 1_000
"""The number of rows of an example or a file that the first question contains. Rows that belong together are not
divided."""
_USUAL: Mapping[str, Any] = {"rows": None, "score_output": None}


@dataclass(frozen=True, slots=True)
class Question:
    """What `serinus_runtime.<module>` is asked about the files of a model."""

    module: str
    artifact: str
    """The digest of the model's files."""
    environment: str | None = None
    """The digest of the environment in which it is asked. None: nothing of the model is loaded, so that it needs
    none."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """Fields of its configuration."""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields whose values are JSON files, because they may be large."""
    directories: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Fields whose values are directories, with the content of their files."""
    returned: str = ""
    """The directory in its scratch whose files are a part of the answer. Empty: none are."""
    followed: bool = False
    """Whether other questions about the same model follow soon."""

    def config(self, files: Mapping[str, str]) -> dict[str, Any]:
        """Returns the fields of the configuration. `files` has the paths of `self.files`."""
        return {**_USUAL, **self.told, **files}


def scanning(artifact: str) -> Question:
    """Which imports would loading the files cause?"""
    return Question("trials.scan", artifact)


def loading(environment: str, artifact: str) -> Question:
    """Does the model load?"""
    return Question("trials.reference", artifact, environment, followed=True)


def reference(
    environment: str,
    artifact: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    score_output: str | None,
) -> Question:
    """Which scores does it give for these rows?"""
    table = {"columns": list(columns), "rows": [list(row) for row in rows]}
    return Question("trials.reference", artifact, environment, {"score_output": score_output}, {"rows": table})


def rehearsal(release: Release, given: GivenRows | None) -> Question:
    """What does it answer when it is called for the first time?"""
    settings = release.settings
    most = _ROWS_TOGETHER if settings.rows == "together" else _ROWS_ASKED
    told = {"score_output": settings.score_output, "most_rows": most}
    files = {} if given is None else {"rows": asdict(replace(given, rows=given.rows[:most]))}
    return Question("trials.rehearse", release.artifact_digest, release.environment_digest, told, files)


def rescoring(release: Release, requests: Sequence[AnsweredRequest]) -> Question:
    """What does it answer to each of these requests?"""
    told = {"score_output": release.settings.score_output, "one_at_a_time": release.settings.one_at_a_time}
    asked = [{"columns": request.columns, "rows": request.rows} for request in requests]
    files = {"requests": {"requests": asked}}
    return Question("trials.rescore", release.artifact_digest, release.environment_digest, told, files)
