"""Asks interpreters for their version and platform: once while they stay the same, and within a few seconds."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from serinus.lib import files, tied

LOOK_SECONDS = 5.0
"""The time limit of one file system access, which may hang on a network file system."""
ANSWER_SECONDS = 10.0
"""The time in which an interpreter must start and answer, also on a busy machine."""
AGAIN_SECONDS = 300.0
"""The time after which a rejected interpreter is tried again, because it may have been repaired."""
_LONGEST_ANSWER = 1 << 16
_MOST_TOLD = 8

_QUESTION = """
import json, platform, sys, sysconfig
print(json.dumps({
    "path": getattr(sys, "_base_executable", None) or sys.executable,
    "version": list(sys.version_info[:3]),
    "usable": sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final"
              and not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "platform": sysconfig.get_platform() + "-" + (platform.libc_ver()[0] or "libc"),
}))
"""

_T = TypeVar("_T")
Answer = dict[str, Any]
"""`path`, `version`, `usable` and `platform`."""


class NoAnswer(Exception):
    """The program is not an interpreter that can be used. The text says why."""


class PassedOver:
    """Directories and programs that were rejected, with reason and time. They are skipped for `AGAIN_SECONDS`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._why: dict[str, tuple[str, float]] = {}

    def add(self, path: Path, why: Exception) -> None:
        """Adds one."""
        words = (why.strerror if isinstance(why, OSError) else None) or str(why)
        self._why[str(path)] = (words[:1].lower() + words[1:], self._now())

    def recently(self, path: Path) -> bool:
        """Whether it was rejected recently."""
        found = self._why.get(str(path))
        if found is None:
            return False
        if self._now() - found[1] < AGAIN_SECONDS:
            return True
        del self._why[str(path)]
        return False

    def in_words(self) -> str:
        """Returns a sentence that names them. Empty: there are none."""
        told = [f"{path} ({why})" for path, (why, _) in sorted(dict(self._why).items())]
        more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        return f" Passed over: {', '.join(told[:_MOST_TOLD])}{more}." if told else ""


class Answers:
    """The answers of interpreters, stored in the file `memory`."""

    def __init__(self, memory: Path, passed_over: PassedOver) -> None:
        self._memory = memory
        self._passed_over = passed_over
        self._known = _remembered(memory)

    def of(self, path: Path) -> Answer | None:
        """Returns the answer of the interpreter. None: there is none that can be used. Rejected programs are
        recorded."""
        if self._passed_over.recently(path):
            return None
        try:
            key = _identity(path)
            if key not in self._known:
                answer = _ask(path)
                self._known = {**_remembered(self._memory), **self._known, key: answer}
                _remember(self._memory, self._known)
        except FileNotFoundError:
            if path.is_symlink():
                self._passed_over.add(path, NoAnswer("a link to a file that does not exist"))
            return None
        except (OSError, NoAnswer) as error:
            self._passed_over.add(path, error)
            return None
        return self._known[key]


def within(look: Callable[[], _T]) -> _T:
    """Returns the result of a file system access. Raises TimeoutError after `LOOK_SECONDS`.

    Its thread is abandoned then, because a call that hangs in the kernel cannot be cancelled.
    """
    answers: list[_T] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            answers.append(look())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="look for interpreters", daemon=True)
    thread.start()
    thread.join(LOOK_SECONDS)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"it does not answer within {LOOK_SECONDS:g} s")
    return answers[0]


def _identity(path: Path) -> str:
    """Returns a text that changes when another interpreter is installed at the path. Raises OSError and NoAnswer."""
    seen = within(path.stat)
    if not stat.S_ISREG(seen.st_mode):
        raise NoAnswer("no file")
    # The path is not resolved: a link in a virtual environment answers like its target, but a wrapper may not.
    return f"{path}:{seen.st_size}:{seen.st_mtime_ns}"


def _ask(path: Path) -> Answer:
    """Runs the interpreter. Raises OSError where it cannot be started, and NoAnswer where it does not answer like
    Python."""
    with _started(path) as process:
        try:
            said = _read(process, time.monotonic() + ANSWER_SECONDS)
            code = process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NoAnswer(f"no answer within {ANSWER_SECONDS:g} s") from error
    if code:
        raise NoAnswer(f"exited with {code}" if code > 0 else f"killed by signal {-code}")
    answer = _understood(said)
    if answer is None:
        raise NoAnswer("it does not answer like a Python interpreter")
    return answer


_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYENV_ROOT", "PYENV_VERSION", "ASDF_DIR", "ASDF_DATA_DIR",
)  # fmt: skip
"""Variables that an interpreter, or the wrapper of a version manager, may need. No credentials are among them."""


def _started(path: Path) -> tied.Tied:
    """Starts it. Processes which a wrapper has started end with it."""
    try:
        return tied.start(
            [path, "-I", "-c", _QUESTION],
            env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:  # It is a script, or a program for another C library.
        raise NoAnswer("its program does not exist") from error


def _read(process: tied.Tied, deadline: float) -> bytes:
    """Reads the output up to the length of an answer. Raises TimeoutExpired and NoAnswer."""
    assert process.stdout is not None
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(said) < _LONGEST_ANSWER:
            if not selector.select(max(deadline - time.monotonic(), 0.0)):
                raise subprocess.TimeoutExpired(_QUESTION, ANSWER_SECONDS)
            piece = os.read(process.stdout.fileno(), _LONGEST_ANSWER)
            if not piece:
                return said
            said += piece
    raise NoAnswer("it does not stop printing")


def _understood(said: bytes | str) -> Answer | None:
    try:
        answer = json.loads(said)
    except ValueError:
        return None
    return answer if _is_answer(answer) else None


def _is_answer(answer: Any) -> bool:
    return (
        isinstance(answer, dict)
        and all(isinstance(answer.get(name), str) for name in ("path", "platform"))
        and isinstance(answer.get("usable"), bool)
        and isinstance(answer.get("version"), list)
        and all(type(number) is int for number in answer["version"])
    )


def _remembered(memory: Path) -> dict[str, Answer]:
    try:
        kept = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}  # The interpreters are asked again.
    return {key: answer for key, answer in kept.items() if _is_answer(answer)} if isinstance(kept, dict) else {}


def _remember(memory: Path, answers: dict[str, Answer]) -> None:
    with contextlib.suppress(OSError):  # The next process asks the interpreters again.
        memory.parent.mkdir(parents=True, exist_ok=True)
        files.write(memory, json.dumps(answers, indent=1), durable=False)
