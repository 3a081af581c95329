"""Compiled libraries that make a worker quicker, where they are there: the standard library does without them.

A model's own versions come first: they stand before `<environment>/accelerators` on the path, and what the model has
imported already is what is used. A version that does not do what is needed is passed over.
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
    """The directory of this interpreter's accelerators, resolved: the environment has a link to a directory that many
    share."""
    return (Path(sys.prefix) / "accelerators").resolve()


def find() -> None:
    """Imports what there is. Once, after the confinement and after the model's packages can be imported."""
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
    """Back to the standard library, until they are looked for again."""
    global _found, orjson, uvloop
    _found, orjson, uvloop = False, None, None


def _usable(name: str, works: Callable[[Any], bool]) -> Any:
    try:
        module = importlib.import_module(name)
        return module if works(module) else None
    except Exception:  # noqa: BLE001
        # A library of the model's choice may fail in any way at its import; the worker serves without it.
        return None


def _reads_and_writes(module: Any) -> bool:
    written = module.dumps([float("nan"), 0.5, {"a": (1,)}], default=str)
    return bool(written == b'[null,0.5,{"a":[1]}]' and module.loads(b"[1.5,null]") == [1.5, None])


def _makes_loops(module: Any) -> bool:
    return callable(module.new_event_loop)
