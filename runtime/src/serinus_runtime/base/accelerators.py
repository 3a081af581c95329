"""Compiled libraries that make a worker faster. Without them the standard library is used.

A model's own versions take precedence: they come before `<environment>/accelerators` on the path, and modules that the
model has imported already are used. Versions that do not work are skipped.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Callable

orjson: Any = None
uvloop: Any = None

_found = False


def directory() -> Path:
    """Returns the directory of this interpreter's accelerators. The environment has a link to a shared directory."""
    return (Path(sys.prefix) / "accelerators").resolve()


def find() -> None:
    """Imports what exists. To be called once, after the confinement and when the model's packages can be imported."""
    global _found, orjson, uvloop
    if _found:
        return
    _found = True
    place = str(directory())
    if Path(place).is_dir() and place not in sys.path:
        sys.path.append(place)
    orjson = _usable("orjson", _reads_and_writes)
    uvloop = _usable("uvloop", _makes_loops)


def forget() -> None:
    """Returns to the standard library, until `find` is called again."""
    global _found, orjson, uvloop
    _found, orjson, uvloop = False, None, None


def _usable(name: str, works: Callable[[Any], bool]) -> Any:
    try:
        module = importlib.import_module(name)
        return module if works(module) else None
    except Exception:  # noqa: BLE001
        # A library of the model's may fail in any way at its import. The worker serves without it.
        return None


def _reads_and_writes(module: Any) -> bool:
    written = module.dumps([float("nan"), 0.5, {"a": (1,)}], default=str)
    return bool(written == b'[null,0.5,{"a":[1]}]' and module.loads(b"[1.5,null]") == [1.5, None])


def _makes_loops(module: Any) -> bool:
    return callable(module.new_event_loop)
