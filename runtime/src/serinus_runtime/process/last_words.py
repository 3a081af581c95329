"""Why a process with a model in it has ended, from its exit status and from what it wrote last."""

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
    """What `file`, a standard error from byte `since` on, ends with: of a crash or a traceback its type and its place,
    else the last line; empty where it has none. `errors_alone`: other lines are what the model prints."""
    size = file.seek(0, os.SEEK_END)
    since = since if since <= size else 0  # it has begun anew meanwhile
    file.seek(max(since, size - _TAIL))
    # Cut, so that no line takes long to be looked at.
    lines = [line[:_LONGEST_LINE].rstrip() for line in file.read().decode(errors="replace").rstrip().splitlines()]
    # faulthandler writes a crash, and then each thread with the innermost call first.
    crash = next((n for n, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if crash is not None:
        frames = [found for line in lines[crash:] if (found := _NAMED.match(line))]
        return lines[crash][:_LONGEST] + _place(frames[0] if frames else None)
    last = lines[-1] if lines else ""
    if not _ERROR.match(last):
        return "" if errors_alone else last[:_LONGEST]
    frames = [found for line in lines if (found := _NAMED.match(line))]
    return last[:_LONGEST] + _place(frames[-1] if frames else None)


def ending(code: int | None) -> str:
    """An exit status as `subprocess` gives it, in words. None: it was not our child, so nobody knows."""
    if code is None:
        return "is gone"
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def why_ended(code: int | None, words: str) -> str:
    """In words. `words`: what the process said of it, or its last words."""
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
    """From the packages on; of other files the name alone."""
    for part in ("/site-packages/", "/dist-packages/"):
        if part in file:
            return file.rpartition(part)[2]
    return file.rpartition("/")[2]
