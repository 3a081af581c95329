"""Examines a model before it is placed, each time in a confined process of its own, which ends with its answer.

The process also ends when this process is killed.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from serinus_runtime.isolation.scratch import remove
from serinus_runtime.process import starting
from serinus_runtime.process.last_words import last_words, why_ended

from serinus.core.errors import InvalidInput, Unbuildable
from serinus.core.examination import GivenRows, ReadRows, Rehearsal
from serinus.core.home import Home
from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.core.release import Release
from serinus.core.text import one_line
from serinus.lib import tied
from serinus.targets.local.host import launch
from serinus.targets.local.host.reach import readable
from serinus.targets.local.host.trial_answers import FileLimits, read_rows, rehearsal_of, scores_of
from serinus.targets.local.host.trial_limits import TookTooMuch, TrialLimits, Watch
from serinus.targets.local.host.trial_zygotes import TrialZygote, TrialZygotes

_LONGEST_ANSWER = 16 * 1024 * 1024
_LONGEST_REASON = 2000
_ROWS_ASKED, _ROWS_TOGETHER = 50, 1_000
"""The number of rows of an example or a file that the first question contains. Rows that belong together are not
divided."""


@dataclass(slots=True)
class _Place:
    """The directories of one process of a model."""

    given: Path
    """Holds the files that tell the process what to do. Nothing confined writes to it."""
    scratch: Path
    """All that the process may write to. The control plane writes nothing there."""

    def save(self, name: str, content: Mapping[str, Any]) -> str:
        path = self.given / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)


class _Failed(Exception):
    """The process ended without an answer; the text says why. `environment` says that another environment might
    help."""

    def __init__(self, reason: str, *, environment: bool = True) -> None:
        super().__init__(reason)
        self.environment = environment


@dataclass(frozen=True, slots=True)
class Rescored:
    """Implements `core.ports.Rescored`."""

    answers: Sequence[OwnAnswer | None]
    seconds: float


class Trials:
    """Implements `core.ports.Trials` and, with limits that are `background`, `core.ports.Rescorer`."""

    def __init__(
        self,
        home: Home,
        *,
        runtime: Path | None = None,
        limits: TrialLimits | None = None,
        zygotes: TrialZygotes | None = None,
    ) -> None:
        """`runtime` is the directory that holds `serinus_runtime`, by default the installed one. `zygotes` provides the
        processes from which the trials of a model after the first one are forked, where that is possible; by default
        none is forked."""
        self._home = home
        self._zygotes = zygotes
        self._runtime = launch.stage(home, runtime or launch.runtime_source())
        self._limits = limits or TrialLimits()

    def scan(self, artifact: str) -> Mapping[str, Any]:
        """Raises Unbuildable where the files cannot be scanned."""
        try:
            with self._own_place() as place:
                # Nothing of the artifact is loaded, so its own environment is not needed, nor there yet.
                return self._run(Path(sys.executable), place, "trials.scan", str(self._home.artifact(artifact)))
        except _Failed as error:
            raise Unbuildable(f"The model's files cannot be scanned: {error}") from error

    def loads(self, environment: str, artifact: str) -> str | None:
        python, files = self._home.interpreter(environment), self._home.artifact(artifact)
        try:
            with self._place(python, files, first=True) as (place, zygote):
                config = self._config(python, files, place)
                self._run(python, place, "trials.reference", config, zygote)
        except _Failed as error:
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
        python, files = self._home.interpreter(environment), self._home.artifact(artifact)
        try:
            with self._place(python, files) as (place, zygote):
                table = place.save("rows", {"columns": list(columns), "rows": [list(row) for row in rows]})
                config = self._config(python, files, place) | {"rows": table, "score_output": score_output}
                answer = self._run(python, place, "trials.reference", config, zygote)
        except _Failed as error:
            raise Unbuildable(f"The model's own predict gives no scores for the rows: {error}") from error
        scores = scores_of(answer.get("scores"), len(rows))
        if scores is None:
            raise Unbuildable("The model's own predict did not give one score a row.")
        return scores

    def rehearse(self, release: Release, given: GivenRows | None) -> Rehearsal:
        python = self._home.interpreter(release.environment_digest)
        files, settings = self._home.artifact(release.artifact_digest), release.settings
        try:
            with self._place(python, files) as (place, zygote):
                rows = None if given is None else place.save("rows", asdict(given))
                config = self._config(python, files, place) | {
                    "rows": rows,
                    "score_output": settings.score_output,
                    "most_rows": _ROWS_TOGETHER if settings.rows == "together" else _ROWS_ASKED,
                }
                answer = self._run(python, place, "trials.rehearse", config, zygote)
        except _Failed as error:
            raise Unbuildable(f"The model does not load: {error}") from error
        try:
            return rehearsal_of(answer)
        except (ValueError, RecursionError) as error:  # A model can write to the answer.
            raise Unbuildable("The model's process answered something that the runtime does not say.") from error

    def golden(self, file: Path) -> ReadRows:
        return self._rows(file, kind="golden", label=None, entity=None, inputs=None)

    def evaluation(self, file: Path, label: str, entity: str, inputs: Sequence[str] | None) -> ReadRows:
        columns = None if inputs is None else list(inputs)
        return self._rows(file, kind="evaluation", label=label, entity=entity, inputs=columns)

    def _rows(self, file: Path, **wanted: Any) -> ReadRows:
        """Reads a file in the control plane's interpreter, which has the libraries for it, but confined as a model
        is."""
        python = Path(sys.executable)
        limits = FileLimits()
        try:
            with self._own_place() as place:
                config = self._config(python, file, place) | limits.config() | wanted | {"file": str(file)}
                trial = TrialLimits(limits.seconds, limits.memory_bytes, limits.result_bytes)
                self._run(python, place, "trials.rows_file", config, limits=trial)
                return read_rows(place.scratch / "rows.json", limits.result_bytes)
        except _Failed as error:
            raise InvalidInput(f"{file.name} was not read: {error}") from error
        except (ValueError, OSError) as error:
            raise InvalidInput(
                f"{file.name} was not read: its reader gave no rows ({type(error).__name__})."
            ) from error

    @contextmanager
    def ask(
        self, environment: str, module: str, artifact: str, *, also: Sequence[Path] = (), **config: Any
    ) -> Iterator[tuple[Mapping[str, Any], Path]]:
        """The answer of `serinus_runtime.<module>`, asked with `config`, and the directory that it wrote to, which is
        removed afterwards. `environment` and `artifact` are digests. The process may read the artifact and `also`.
        Raises Unbuildable with the reason in words.

        A dict in `config` is given as a file.
        """
        python, files = self._home.interpreter(environment), self._home.artifact(artifact)
        with self._place(python, files) as (place, zygote):
            given = {key: place.save(key, v) if isinstance(v, Mapping) else v for key, v in config.items()}
            try:
                whole = self._config(python, files, place, *also) | given
                answer = self._run(python, place, module, whole, zygote)
            except _Failed as error:
                raise Unbuildable(str(error)) from error
            yield answer, place.scratch

    def rescore(self, release: Release, requests: Sequence[AnsweredRequest]) -> Rescored:
        asked = [{"columns": request.columns, "rows": request.rows} for request in requests]
        how: dict[str, Any] = {
            "score_output": release.settings.score_output,
            "one_at_a_time": release.settings.one_at_a_time,
            "requests": {"requests": asked},
        }
        began, used = time.monotonic(), _children_seconds()
        with self.ask(release.environment_digest, "trials.rescore", release.artifact_digest, **how) as answer:
            answers = _own_answers(answer[0].get("answers"), requests)
        # This includes other children that have ended in the meantime, but is at most what one process can have used.
        return Rescored(answers, min(time.monotonic() - began, _children_seconds() - used))

    # ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _place(
        self, python: Path, artifact: Path, *, first: bool = False
    ) -> Iterator[tuple[_Place, TrialZygote | None]]:
        """The directories for one process of the model, and the zygote that it may be forked from. `first` says that
        other processes will follow."""
        zygotes = self._zygotes
        zygote = zygotes.take(python, artifact) if zygotes else None
        if zygotes and first and zygote is None:
            zygote = zygotes.start(python, artifact, self._limits)
        try:
            if zygote is None:
                with self._own_place() as place:
                    yield place, None
            else:
                with _directory(zygote.given) as given:
                    yield _Place(given, zygote.scratch / given.name), zygote
        finally:
            if zygotes and zygote:
                zygotes.give_back(zygote)

    @contextmanager
    def _own_place(self) -> Iterator[_Place]:
        with _directory(self._home.scratch) as directory:
            place = _Place(directory / "given", directory / "scratch")
            for path in (place.given, place.scratch):
                path.mkdir(mode=0o700)
            yield place

    def _config(self, python: Path, artifact: Path, place: _Place, *also: Path) -> dict[str, Any]:
        """Raises _Failed."""
        try:
            may_read = readable(self._home.path, python, artifact, place.given, *also, *launch.code(self._runtime))
        except OSError as error:
            raise _Failed(str(error.strerror)) from error
        return {
            "artifact": str(artifact),
            "rows": None,
            "readable": may_read,
            "scratch": str(place.scratch),
            "confine": launch.confined(self._home),
            "score_output": None,
        }

    def _run(
        self,
        python: Path,
        place: _Place,
        module: str,
        told: str | Mapping[str, Any],
        zygote: TrialZygote | None = None,
        *,
        limits: TrialLimits | None = None,
    ) -> dict[str, Any]:
        """The JSON object that the process prints last. `told` is its argument, or its configuration. Raises
        _Failed."""
        limits = limits or self._limits
        argument = told if isinstance(told, str) else place.save("config", told)
        try:
            if zygote is not None:
                with suppress(OSError), _streams() as (output, errors):
                    code = zygote.run(module, argument, output, errors, limits)
                    return _answer(code, _last_line(output), last_words(errors))
                # The zygote has failed. A new interpreter must not write where the zygote could have put something.
                place.scratch = zygote.beside / place.given.name
                place.scratch.mkdir(mode=0o700)
                assert not isinstance(told, str)
                argument = place.save("config", {**told, "scratch": str(place.scratch)})
            with _streams() as (output, errors):
                code = self._spawned(python, place.scratch, module, argument, (output, errors), limits)
                return _answer(code, _last_line(output), last_words(errors))
        except TookTooMuch as error:
            raise _Failed(f"{error} and was killed", environment=False) from error

    def _spawned(
        self,
        python: Path,
        scratch: Path,
        module: str,
        argument: str,
        streams: tuple[IO[bytes], IO[bytes]],
        limits: TrialLimits,
    ) -> int:
        """The exit status."""
        try:
            command = launch.command(python, self._runtime, module, argument)
            with starting.options(python, scratch, *streams) as options:
                process = tied.start(command, prepare=limits.put_on, **options)
        except OSError as error:
            raise _Failed(f"{python} cannot be started: {error.strerror}") from error
        watch = Watch(scratch, streams, limits)
        with process:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(watch.look())


@contextmanager
def _directory(parent: Path) -> Iterator[Path]:
    """A directory with mode 0700 for one process."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=parent, prefix=".trial-"))
    try:
        yield made
    finally:
        with suppress(OSError):  # What is still written there is removed at the next start.
            remove(made)


@contextmanager
def _streams() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The standard output and the standard error. They are files and not pipes, since a model may print for ever."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        yield output, errors


def _children_seconds() -> float:
    """The processor time of all children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _own_answers(said: Any, requests: Sequence[AnsweredRequest]) -> Sequence[OwnAnswer | None]:
    """Checks the answers, since the model could have written them. Raises Unbuildable."""
    if not isinstance(said, list) or len(said) != len(requests):
        raise Unbuildable("The model's own predict did not give an answer to each request.")
    return [_own_answer(one, len(request.rows)) for one, request in zip(said, requests, strict=True)]


def _own_answer(said: Any, rows: int) -> OwnAnswer | None:
    """None also where it is not an answer, since there is nothing to compare with then."""
    if not isinstance(said, dict):
        return None
    scores, datatype = scores_of(said.get("scores"), rows), said.get("datatype")
    return OwnAnswer(scores, datatype) if scores is not None and isinstance(datatype, str) else None


def _last_line(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_ANSWER))
    lines = file.read().decode(errors="replace").rstrip().splitlines()
    return (lines or [""])[-1]


def _answer(code: int, said: str, complained: str) -> dict[str, Any]:
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        answer = None
    if code == 0 and isinstance(answer, dict):
        return answer
    told = answer if isinstance(answer, dict) else {}
    reason = one_line(str(told.get("error") or complained)[:_LONGEST_REASON])
    # If the process could not say so itself, only a crash of native code is attributed to the environment.
    crashed = code < 0 and code != -signal.SIGKILL
    raise _Failed(why_ended(code, reason), environment=told.get("environment") is not False if told else crashed)
