"""The model's own libraries, by name: none of them belongs to the runtime, any may be of any version."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def library(name: str) -> Any:
    """The module, imported now at the latest. Raises ImportError."""
    return importlib.import_module(name)


def loaded(name: str) -> Any | None:
    """The module if something has imported it already: an object can only be of a class of such a one."""
    return sys.modules.get(name)
