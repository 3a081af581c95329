"""Examines a model before it is placed, each time in a confined process of its own, which ends with its answer.

The process also ends when this process is killed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from serinus_runtime.isolation.scratch import remove
from serinus_runtime.process import starting
from serinus_runtime.process.last_words import last_line, last_words
from serinus_runtime.process.watching import TookTooMuch, Watch

from serinus.core.errors import InvalidInput, Unbuildable
from serinus.core.examination import ReadRows
from serinus.core.home import Home
from serinus.lib import tied
from serinus.targets.local.host import launch
from serinus.targets.local.host.reach import readable
from serinus.targets.local.host.row_files import FileLimits, read_rows
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.trial_zygotes import TrialZygote, TrialZygotes
from serinus.targets.trials import Answer, CheckedTrials, Ended, Failed, Question, document_of
from serinus.targets.trials.answers import LONGEST_ANSWER


@dataclass(slots=True)
class _Place:
    """The directories of one process of a model."""

    given: Path
    """Holds the files that tell the process what to do. Nothing confined writes to it."""
    scratch: Path
    """All that the process may write to. The control plane writes nothing there."""
    cpu_seconds: float | None = None
    """The processor time of the process, once it has ended. None where it was forked from a zygote."""

    def save(self, name: str, content: Mapping[str, Any]) -> str:
        path = self.given / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)


class Trials(CheckedTrials):
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
        except Failed as error:
            raise InvalidInput(f"{file.name} was not read: {error}") from error
        except (ValueError, OSError) as error:
            raise InvalidInput(
                f"{file.name} was not read: its reader gave no rows ({type(error).__name__})."
            ) from error

    @contextmanager
    def ask(
        self,
        environment: str,
        module: str,
        artifact: str,
        *,
        also: Sequence[Path] = (),
        returned: str = "",  # noqa: ARG002  all of the directory is there
        **config: Any,
    ) -> Iterator[tuple[Mapping[str, Any], Path]]:
        """The answer of `serinus_runtime.<module>`, asked with `config`, and the directory that it wrote to, which is
        removed afterwards. `environment` and `artifact` are digests. The process may read the artifact and `also`.
        Raises Unbuildable with the reason in words.

        A dict in `config` is given as a file.
        """
        files = {key: value for key, value in config.items() if isinstance(value, Mapping)}
        told = {key: value for key, value in config.items() if key not in files}
        try:
            with self._asked(Question(module, artifact, environment, told, files), *also) as (document, place):
                yield document, place.scratch
        except Failed as error:
            raise Unbuildable(str(error)) from error

    def _answer(self, question: Question) -> Answer:
        began = time.monotonic()
        with self._asked(question) as (document, place):
            used = place.cpu_seconds
            return Answer(document, time.monotonic() - began if used is None else used)

    @contextmanager
    def _asked(self, question: Question, *also: Path) -> Iterator[tuple[dict[str, Any], _Place]]:
        """The answer, and the directories of the process. Raises Failed."""
        files = self._home.artifact(question.artifact)
        if question.environment is None:
            with self._own_place() as place:
                yield self._run(Path(sys.executable), place, question.module, str(files)), place
            return
        python = self._home.interpreter(question.environment)
        with self._place(python, files, first=question.followed) as (place, zygote):
            given = {name: place.save(name, content) for name, content in question.files.items()}
            config = self._config(python, files, place, *also) | question.config(given)
            yield self._run(python, place, question.module, config, zygote), place

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
        """Raises Failed."""
        try:
            may_read = readable(self._home.path, python, artifact, place.given, *also, *launch.code(self._runtime))
        except OSError as error:
            raise Failed(str(error.strerror)) from error
        return {
            "artifact": str(artifact),
            "readable": may_read,
            "scratch": str(place.scratch),
            "confine": launch.confined(self._home),
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
        Failed."""
        limits = limits or self._limits
        argument = told if isinstance(told, str) else place.save("config", told)
        try:
            if zygote is not None:
                with suppress(OSError), _streams() as (output, errors):
                    code = zygote.run(module, argument, output, errors, limits)
                    return _document(code, output, errors)
                # The zygote has failed. A new interpreter must not write where the zygote could have put something.
                place.scratch = zygote.beside / place.given.name
                place.scratch.mkdir(mode=0o700)
                assert not isinstance(told, str)
                argument = place.save("config", {**told, "scratch": str(place.scratch)})
            with _streams() as (output, errors):
                code = self._spawned(python, place, module, argument, (output, errors), limits)
                return _document(code, output, errors)
        except TookTooMuch as error:
            raise Failed(f"{error} and was killed", environment=False) from error

    def _spawned(
        self,
        python: Path,
        place: _Place,
        module: str,
        argument: str,
        streams: tuple[IO[bytes], IO[bytes]],
        limits: TrialLimits,
    ) -> int:
        """The exit status."""
        try:
            command = launch.command(python, self._runtime, module, argument)
            with starting.options(python, place.scratch, *streams) as options:
                process = tied.start(command, prepare=limits.put_on, **options)
        except OSError as error:
            raise Failed(f"{python} cannot be started: {error.strerror}") from error
        watch = Watch(place.scratch, streams, limits)
        with process:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(watch.look())
                    place.cpu_seconds = process.cpu_seconds
                    return code


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


def _document(code: int, output: IO[bytes], errors: IO[bytes]) -> dict[str, Any]:
    """Raises Failed."""
    return document_of(Ended(code, last_line(output, LONGEST_ANSWER), last_words(errors)))
