"""The command of a container that asks a model one question:

    python3 -I -S -u -X faulthandler -c "... from serinus_runtime.pod.question import main; main()"

This process runs nothing of the model. It starts a confined one that does, keeps what that prints to itself, and writes
the answer to its own standard output, which the other cannot reach: the log of the container holds nothing else. The
exit status is 0 where there is an answer, 1 where the question cannot be asked on this node, and 2 where it is wrong.
The reason is then the last line of the output, and the container's termination message.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Mapping, NoReturn, Sequence

from serinus_runtime.isolation import landlock, written
from serinus_runtime.pod import frame
from serinus_runtime.pod.container import be_private, end
from serinus_runtime.pod.launch import OF_THE_IMAGE, RUNTIME, command
from serinus_runtime.pod.output import Output
from serinus_runtime.pod.posed import InvalidQuestion, Posed, QuestionPaths, read
from serinus_runtime.pod.release import REQUIRED
from serinus_runtime.process import starting
from serinus_runtime.process.last_words import last_line, last_words
from serinus_runtime.process.watching import TookTooMuch, Watch

_LONGEST_ANSWER = 16 << 20
_MOST_RETURNED, _MOST_FILES = 32 << 20, 32
"""The bytes and the number of the files that are part of an answer."""


def main() -> None:
    """Asks the question, and prints the answer."""
    signal.signal(signal.SIGTERM, _stopped)
    be_private()
    output = Output()
    try:
        posed = read(os.environ)
    except InvalidQuestion as error:
        end(output, QuestionPaths().termination_log, 2, str(error))
    try:
        answer = _answer(posed)
    except OSError as error:
        end(output, posed.paths.termination_log, 1, f"the question cannot be asked on this node: {error.strerror}")
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def _answer(posed: Posed) -> bytes:
    """Returns the framed answer. Raises OSError."""
    ended = {**_asked(posed), "seconds": _children_seconds()}
    try:
        files = _returned(posed.paths.scratch / "work" / posed.returned) if posed.returned else {}
        return frame.framed({**ended, "files": files}, posed.key, posed.digest)
    except frame.TooLong as error:
        return frame.framed({**ended, "said": "", "files": {}, "stopped": str(error)}, posed.key, posed.digest)


def _returned(directory: Path) -> Mapping[str, str]:
    """Returns the content of the plain files in a directory that the model may have made, in base64. Raises
    TooLong."""
    found: dict[str, str] = {}
    left = _MOST_RETURNED
    for name in _names(directory):
        try:
            content = written.content(directory / name, left)
        except (OSError, ValueError) as error:
            most = f"more than {_MOST_RETURNED >> 20} MiB"
            raise frame.TooLong(f"what it has written is not a plain file, or has {most}") from error
        left -= len(content)
        found[name] = base64.b64encode(content).decode()
    return found


def _names(directory: Path) -> Sequence[str]:
    """Returns the names in a directory, if it is one."""
    try:
        descriptor = written.opened(directory)
    except OSError:
        return ()
    try:
        with os.scandir(descriptor) as entries:
            return [entry.name for entry in itertools.islice(entries, _MOST_FILES)]
    finally:
        os.close(descriptor)


def _asked(posed: Posed) -> Mapping[str, Any]:
    """Returns how the process of the model has ended: {"code", "said", "complained", "stopped"}. Raises OSError."""
    paths = posed.paths
    given, work = paths.scratch / "given", paths.scratch / "work"
    given.mkdir(mode=0o700)
    argument = _saved(posed, given, work)
    environment = None if posed.config is None else paths.environment
    limits = posed.limits
    limit = functools.partial(starting.limit, 0, memory_bytes=limits.memory_bytes, file_bytes=limits.file_bytes)
    with tempfile.TemporaryFile(dir=paths.scratch) as said, tempfile.TemporaryFile(dir=paths.scratch) as complained:
        process = starting.start(
            command(environment, posed.module, argument),
            Path(sys.executable),
            work,
            said,
            complained,
            variables=OF_THE_IMAGE,
            before=limit,
        )
        stopped = _watched(process, Watch(work, (said, complained), limits))
        return {
            "code": process.returncode,
            "said": last_line(said, _LONGEST_ANSWER),
            "complained": last_words(complained),
            "stopped": stopped,
        }


def _saved(posed: Posed, given: Path, work: Path) -> str:
    """Returns the argument of the process: its configuration in the directory `given`, which it can only read."""
    if posed.config is None:
        return str(posed.paths.artifact)
    files = {name: _put(given / f"{name}.json", content) for name, content in posed.files.items()}
    for name, contents in posed.directories.items():
        (given / name).mkdir(mode=0o700)
        files[name] = str(given / name)
        for file, content in contents.items():
            (given / name / file).write_bytes(base64.b64decode(content))
    config = {
        **posed.config,
        **files,
        "artifact": str(posed.paths.artifact),
        "readable": [str(RUNTIME), str(given), "/etc/ssl"],
        "scratch": str(work),
        "confine": True,
        # If the kernel has Landlock, no process may start without it.
        "landlock_required": landlock.abi() > 0 or posed.confinement == REQUIRED,
    }
    return _put(given / "config.json", config)


def _put(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def _watched(process: subprocess.Popen[bytes], watch: Watch) -> str:
    """Waits until the process has ended, and returns why it was killed. Empty: it ended by itself."""
    while True:
        try:
            process.wait(watch.look())
        except subprocess.TimeoutExpired:
            continue
        except TookTooMuch as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"{error} and was killed"
        return ""


def _children_seconds() -> float:
    """The processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _stopped(*_: Any) -> NoReturn:
    """Handles SIGTERM. Whoever has asked does not wait any more."""
    os._exit(128 + signal.SIGTERM)
