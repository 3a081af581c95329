"""Looks at a model before it is placed, each time in a confined process of its own, which ends with the answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from serinus.backends.host import launch
from serinus.backends.host.processes import ending
from serinus.backends.host.reach import readable
from serinus.core.errors import Unbuildable
from serinus.core.home import Home
from serinus.core.values import Environment

_LONGEST_ANSWER = 64 * 1024 * 1024
_LONGEST_REASON = 2000


class _Failed(Exception):
    """The process ended without an answer; the text says why."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    seconds: float = 120.0
    memory_bytes: int = 8 * 1024**3
    """That the process allocates for itself."""
    file_bytes: int = 1024**3
    """The largest file that it may write."""


class Trials:
    """Implements `core.ports.Trials`."""

    def __init__(self, home: Home, *, runtime: Path | None = None, limits: TrialLimits | None = None) -> None:
        """`runtime`: the directory that holds `serinus_runtime`, by default where it is installed."""
        self._home = home
        self._runtime = launch.stage(home, runtime or launch.runtime_source())
        self._limits = limits or TrialLimits()

    def scan(self, artifact: Path) -> Mapping[str, Any]:
        """Raises Unbuildable where the files cannot be scanned."""
        try:
            with self._scratch() as scratch:
                # Nothing of the artifact is loaded, so its own environment is not needed, nor there yet.
                return self._run(Path(sys.executable), scratch, "scan", str(artifact))
        except _Failed as error:
            raise Unbuildable(f"The model's files cannot be scanned: {error}") from error

    def loads(self, environment: Environment, artifact: Path) -> str | None:
        try:
            with self._scratch() as scratch:
                config = self._config(environment.python, artifact, scratch)
                self._run(environment.python, scratch, "reference", _saved(scratch, "config", config))
        except _Failed as error:
            return str(error)
        return None

    def reference(
        self,
        python: Path,
        artifact: Path,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        score_output: str | None,
    ) -> Sequence[float | None]:
        try:
            with self._scratch() as scratch:
                table = _saved(scratch, "rows", {"columns": list(columns), "rows": [list(row) for row in rows]})
                config = self._config(python, artifact, scratch) | {"rows": table, "score_output": score_output}
                answer = self._run(python, scratch, "reference", _saved(scratch, "config", config))
        except _Failed as error:
            raise Unbuildable(f"The model's own predict gives no scores for the rows: {error}") from error
        scores = answer.get("scores")
        if not isinstance(scores, list) or len(scores) != len(rows):
            raise Unbuildable("The model's own predict did not give one score a row.")
        return scores

    @contextmanager
    def ask(
        self, python: Path, module: str, artifact: Path, *, also: Sequence[Path] = (), **config: Any
    ) -> Iterator[tuple[Mapping[str, Any], Path]]:
        """What `serinus_runtime.<module>` answers, asked with `config`, and the directory that it wrote to, which is
        gone afterwards. It may read the artifact and `also`. Raises Unbuildable with the reason in words.

        A dict of `config` is given as a file.
        """
        with self._scratch() as scratch:
            given = {key: _saved(scratch, key, v) if isinstance(v, Mapping) else v for key, v in config.items()}
            whole = self._config(python, artifact, scratch, *also) | given
            try:
                answer = self._run(python, scratch, module, _saved(scratch, "config", whole))
            except _Failed as error:
                raise Unbuildable(str(error)) from error
            yield answer, scratch

    # ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A directory, 0700, for one process."""
        self._home.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A hostile model can leave what cannot be removed; that must not hide its answer.
        with tempfile.TemporaryDirectory(dir=self._home.scratch, prefix=".trial-", ignore_cleanup_errors=True) as made:
            yield Path(made)

    def _config(self, python: Path, artifact: Path, scratch: Path, *also: Path) -> dict[str, Any]:
        return {
            "artifact": str(artifact),
            "rows": None,
            "readable": readable(self._home.path, python, artifact, *also, *launch.code(self._runtime)),
            "scratch": str(scratch),
            "confine": launch.confined(self._home),
            "score_output": None,
        }

    def _run(self, python: Path, scratch: Path, module: str, argument: str) -> dict[str, Any]:
        """What it prints last, a JSON object. Raises _Failed."""
        command = launch.command(python, self._runtime, module, argument)
        # Files rather than pipes: a model may print for ever.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    cwd=scratch,
                    env=launch.environment(python, scratch),
                    start_new_session=True,
                )
            except OSError as error:
                raise _Failed(f"{python} cannot be started: {error.strerror}") from error
            launch.limit(process.pid, memory_bytes=self._limits.memory_bytes, file_bytes=self._limits.file_bytes)
            self._wait(process)
            return _answer(process.returncode, _last_line(output), _last_line(errors))

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        seconds = self._limits.seconds
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise _Failed(f"it took longer than {seconds:g} s and was killed") from error
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Of the process and of all that it started and left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _saved(scratch: Path, name: str, content: Mapping[str, Any]) -> str:
    path = scratch / f"{name}.json"
    path.write_text(json.dumps(content))
    return str(path)


def _last_line(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_ANSWER))
    lines = file.read().decode(errors="replace").rstrip().splitlines()
    # Of a crash faulthandler writes many lines: the first of them says what it was.
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or lines or [""])[-1]


def _answer(code: int, said: str, complained: str) -> dict[str, Any]:
    try:
        answer = json.loads(said)
    except ValueError:
        answer = None
    if code == 0 and isinstance(answer, dict):
        return answer
    reason = answer.get("error") if isinstance(answer, dict) else complained
    raise _Failed(": ".join(part for part in (ending(code), str(reason or "")[:_LONGEST_REASON]) if part))
