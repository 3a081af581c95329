"""File copies in a process that may not change modes and times, which `shutil.copy` and similar functions do."""

from __future__ import annotations

import contextlib
import functools
import shutil
from typing import Any, Callable


def without_modes() -> None:
    """Has `shutil.copymode` and `shutil.copystat` ignore refused changes, as they do on file systems without modes.

    A copy has the mode of a new file. To be called once.
    """
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
