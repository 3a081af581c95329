"""Runs a module of the runtime in a confined process that reads or runs the contents of packages.

The base interpreter is started, and nothing of an environment is used before the confinement. It ends with this
process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import serinus_runtime
from serinus_runtime.isolation import scratch, written

from serinus.lib import isolated, priority, tied

_RUNTIME = Path(str(serinus_runtime.__file__)).parent.parent
_NICE = 10
"""The niceness, because models are served on the same machine."""
_LOOK = 0.5
"""Seconds between two checks of what it has written."""
_MOST_OUTPUT = 64 << 20
_LONGEST_ANSWER = 1 << 16
_TAIL = 1 << 14


class Failed(Exception):
    """The process ended without an answer. The text says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a process."""

    seconds: float
    written: scratch.Bounds


@dataclass(frozen=True, slots=True)
class Confined:
    """Runs processes. `confined`: they are confined as models are."""

    confined: bool = True

    def run(
        self,
        module: str,
        config: Mapping[str, Any],
        *,
        interpreter: Path,
        directory: Path,
        limits: Limits,
        environment: Path | None = None,
        keep_open: Sequence[int] = (),
    ) -> str:
        """Runs `serinus_runtime.<module>` with `config`. Returns the last line that it prints, or an empty text.

        `directory` is the only directory that it may write to. `environment` has the packages that it imports after the
        confinement. Raises Failed, and OSError where it cannot be started.
        """
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            told.write(json.dumps({**config, "confine": self.confined}).encode())
            told.seek(0)
            descriptor = written.opened(directory)
            try:
                process = tied.start(
                    _command(module, interpreter, environment, f"/proc/self/fd/{told.fileno()}"),
                    stdout=output,
                    stderr=errors,
                    cwd=f"/proc/self/fd/{descriptor}",
                    env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
                    pass_fds=(told.fileno(), *keep_open),
                    prepare=_give_way,
                )
            finally:
                os.close(descriptor)
            code = _ended(process, directory, (output, errors), limits)
            said = _last_line(output, _LONGEST_ANSWER)
            if code:
                raise Failed(_error(said) or _last_line(errors, _TAIL) or f"it ended with {code}")
            return said


def _command(module: str, interpreter: Path, environment: Path | None, config: str) -> list[str]:
    python = None if environment is None else environment / "bin" / "python"
    return isolated.command(interpreter, _RUNTIME, f"serinus_runtime.{module}", config, python=python)


def _give_way(pid: int) -> None:
    priority.give_way(pid, _NICE)


def _ended(process: tied.Tied, directory: Path, streams: Sequence[IO[bytes]], limits: Limits) -> int:
    """Waits until the process and all that it has started have ended, and returns the exit status. Raises Failed where
    it was killed for exceeding a limit."""
    deadline = time.monotonic() + limits.seconds
    with process:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(_LOOK, max(deadline - time.monotonic(), 0.0)))
            if time.monotonic() >= deadline:
                raise Failed(f"it took longer than {limits.seconds:g} s and was ended")
            if found := scratch.excess(directory, limits.written):
                raise Failed(f"it was ended because it had written {found}")
            if any(os.fstat(stream.fileno()).st_size > _MOST_OUTPUT for stream in streams):
                raise Failed(f"it was ended because it had printed more than {_MOST_OUTPUT >> 20} MiB")


def _error(said: str) -> str:
    """Returns the error in an answer of `serinus_runtime.isolation.trial`."""
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        return ""
    return str(answer.get("error") or "")[:1000] if isinstance(answer, dict) else ""


def _last_line(file: IO[bytes], most: int) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - most))
    return (file.read().decode(errors="replace").strip().splitlines() or [""])[-1]
