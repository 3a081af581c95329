"""Copies of files in a process that may not change modes and times: `shutil.copy` and its like make them without."""

from __future__ import annotations

import contextlib
import functools
import shutil
from typing import Any, Callable


def without_modes() -> None:
    """From now on `shutil.copymode` and `shutil.copystat` pass over what is not permitted, as they do on file systems
    without modes; a copy has the mode that a new file has. Once."""
    for name in ("copymode", "copystat"):
        given = getattr(shutil, name)
        if not hasattr(given, "__wrapped__"):
            setattr(shutil, name, _tolerant(given))


def _tolerant(change: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(change)
    def tolerant(*arguments: Any, **options: Any) -> None:
        with contextlib.suppress(PermissionError):
            change(*arguments, **options)

    return tolerant
