"""Why a process with a model has ended, by its exit status and its last output."""

from __future__ import annotations

import os
import re
import signal
from typing import IO

_TAIL = 64 * 1024
_LONGEST, _LONGEST_LINE = 300, 2_000
_NAMED = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+),? in (?P<function>.+?)\s*$')
_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Failure|Warning)\b(?:: .*)?")


def last_words(file: IO[bytes], since: int = 0, *, errors_alone: bool = False) -> str:
    """Returns the end of `file`, a standard error, after byte `since`: the type and place of a crash or traceback, or
    else the last line. Empty: there is none.

    `errors_alone`: other lines are output of the model.
    """
    size = file.seek(0, os.SEEK_END)
    since = since if since <= size else 0  # The file was rotated meanwhile.
    file.seek(max(since, size - _TAIL))
    # Lines are truncated, so that none takes long to process.
    lines = [line[:_LONGEST_LINE].rstrip() for line in file.read().decode(errors="replace").rstrip().splitlines()]
    # faulthandler writes the crash, and then each thread with the innermost call first.
    crash = next((n for n, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if crash is not None:
        frames = [found for line in lines[crash:] if (found := _NAMED.match(line))]
        return lines[crash][:_LONGEST] + _place(frames[0] if frames else None)
    last = lines[-1] if lines else ""
    if not _ERROR.match(last):
        return "" if errors_alone else last[:_LONGEST]
    frames = [found for line in lines if (found := _NAMED.match(line))]
    return last[:_LONGEST] + _place(frames[-1] if frames else None)


def last_line(file: IO[bytes], longest: int) -> str:
    """Returns the last line of `file`, a standard output, of which at most `longest` bytes are read. Empty: there is
    none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - longest))
    lines = file.read().decode(errors="replace").rstrip().splitlines()
    return (lines or [""])[-1]


def ending(code: int | None) -> str:
    """Returns an exit status of `subprocess` in words. None: it was not a child, so the status is unknown."""
    if code is None:
        return "is gone"
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def why_ended(code: int | None, words: str) -> str:
    """Returns the reason in words. `words` is what the process said of it, or its last output."""
    how = ending(code)
    if code == -signal.SIGKILL:
        how += ", as the kernel does where memory runs out"
    if code is not None and code < 0:
        return ": ".join(part for part in (how, words) if part)
    if code is None or code == 0:
        return ": ".join(part for part in (f"it {how} without an answer", words) if part)
    return words or f"it ended itself with exit status {code} and gave no reason"


def _place(frame: re.Match[str] | None) -> str:
    if frame is None:
        return ""
    return f" ({_shown(frame['file'])}:{frame['line']}, in {frame['function']})"


def _shown(file: str) -> str:
    """Returns the path relative to the packages, or the name of any other file."""
    for part in ("/site-packages/", "/dist-packages/"):
        if part in file:
            return file.rpartition(part)[2]
    return file.rpartition("/")[2]
