"""One log file for each process, which is kept small. A log that cannot be written never prevents a process from
running."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from serinus.core.home import Home

LARGEST = 20_000_000
"""The size in bytes at which the log becomes the second file."""

_LONGEST_WORDS = 300
_TAIL = 4096


def path(home: Home, name: str) -> Path:
    """The log of a process."""
    return home.logs / f"{name}.log"


def open_log(log: Path) -> tuple[int, str]:
    """A descriptor for a process to write to, and the reason if it does not lead to `log`; empty where it does."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(log, flags, 0o600), ""
    except OSError as error:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), f"its log cannot be written: {error.strerror}"


def size(log: Path) -> int:
    """The size of a log in bytes, or 0 if there is none."""
    with contextlib.suppress(OSError):
        return log.stat().st_size
    return 0


def turn_over(log: Path) -> None:
    """Copies the log and empties it, since the process that writes to it never opens it again. A line that is written
    between the two steps is lost.

    Where there is no room for the copy, the log is emptied nevertheless: a log must not fill the disk.
    """
    if size(log) <= LARGEST:
        return
    with contextlib.suppress(OSError):
        shutil.copyfile(log, log.with_name(log.name + ".1"))
    with contextlib.suppress(OSError):
        os.truncate(log, 0)


def last_words(log: Path, since: int = 0) -> str:
    """The last line that was written after the byte `since`; empty where there is none."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= end else 0, end - _TAIL))
            lines = file.read(_TAIL).decode(errors="replace").splitlines()
    except OSError:
        return ""
    words = ("".join(filter(str.isprintable, line)).strip() for line in reversed(lines))
    return next((line[:_LONGEST_WORDS] for line in words if line), "")
