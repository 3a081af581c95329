"""The warnings of libraries while a model is loaded and first called, and which of them concern its own library."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any, Collection

_MOST, _LONGEST = 20, 300
_NOTED = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
_INCONSISTENT = "InconsistentVersionWarning"
# The messages of scikit-learn before it had a category for that, and of XGBoost.
_OF_ANOTHER_VERSION = re.compile(r"unpickle estimator|older version of|serialized model", re.IGNORECASE)
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\s\\/:'\"]+)+[\\/]([^\s\\/:'\"]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e]+")


class Warnings:
    """A context manager that collects warnings. `own` are the top-level modules of the libraries that the model was
    made with.

    A model can hide warnings or invent some. They are evidence only.
    """

    def __init__(self, own: Collection[str]) -> None:
        self._own = frozenset(own)
        self._found: dict[tuple[str, str], dict[str, Any]] = {}
        self._restored = warnings.catch_warnings()

    def __enter__(self) -> Warnings:
        self._restored.__enter__()
        for category in (*_NOTED, UserWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = self._note
        return self

    def __exit__(self, *error: object) -> None:
        self._restored.__exit__(*error)  # type: ignore[arg-type]

    @property
    def found(self) -> list[dict[str, Any]]:
        """Returns `{"category", "library", "message", "own"}` without duplicates, warnings of the model's own library
        first."""
        return sorted(self._found.values(), key=lambda one: not one["own"])[:_MOST]

    def _note(self, message: Any, category: type, *_: Any, **__: Any) -> None:
        text = plain(str(message))
        foreign = category.__name__ == _INCONSISTENT or bool(_OF_ANOTHER_VERSION.search(text))
        if not foreign and not issubclass(category, _NOTED):
            return
        library = _emitter()
        own = foreign or library in self._own
        name = plain(category.__name__)
        # Warnings that concern the model come first, so that others cannot displace them.
        if len(self._found) < (2 * _MOST if own else _MOST):
            found = {"category": name, "library": library, "message": text, "own": own}
            self._found.setdefault((name, text), found)


def plain(text: str) -> str:
    """Returns the text as one short line, without control characters, with only the last component of paths."""
    line = _PATH.sub(r"\1", _CONTROL.sub(" ", text[: 4 * _LONGEST])).strip()
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _emitter() -> str:
    """Returns the top-level module of the code that has called `warnings.warn`."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("warnings", "_py_warnings"):
        frame = frame.f_back
    name = str(frame.f_globals.get("__name__") or "").partition(".")[0]
    return name if name.isidentifier() else ""
