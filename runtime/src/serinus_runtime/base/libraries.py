"""The model's own libraries, by name: none of them belongs to the runtime, any may be of any version."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from typing import Any, Iterator


def library(name: str) -> Any:
    """The module, imported now at the latest. Raises ImportError."""
    return importlib.import_module(name)


def loaded(name: str) -> Any | None:
    """The module if something has imported it already: an object can only be of a class of such a one."""
    return sys.modules.get(name)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Nothing of what is made meanwhile is garbage: imports and loading take an eighth less without looking for it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
