"""The check that an estimator is what the compiler takes it for: its exact class, in a tested version, without unknown
attributes. Anything else is refused by name, and the model is served by its own libraries."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, Iterator, Mapping

from serinus_runtime.base.libraries import library, loaded
from serinus_runtime.compiling.attributes import BOOSTING, LIGHTGBM_TRAINING, SKLEARN, Attributes
from serinus_runtime.compiling.graph import Unsupported

TRIED: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "sklearn": ((1, 2), (1, 9)),
    "xgboost": ((2, 1), (3, 2)),
    "lightgbm": ((3, 3), (4, 7)),
    "catboost": ((1, 2), (1, 2)),
}
"""The first and the last version of each library whose models the tests compile."""
_METHODS = ("predict", "predict_proba", "decision_function", "score_samples", "transform", "inplace_predict",
            "get_booster", "_raw_predict")  # fmt: skip
_MISSING: Any = object()
_LONGEST = 40


def library_of(estimator: Any) -> str:
    """Returns the library of an estimator."""
    return type(estimator).__module__.split(".")[0]


def check(estimator: Any) -> None:
    """Raises Unsupported, which names what is not known."""
    kind, root = type(estimator), library_of(estimator)
    known = SKLEARN.get(kind.__name__, _MISSING) if root == "sklearn" else BOOSTING.get((root, kind.__name__), _MISSING)
    if known is _MISSING:
        raise Unsupported(f"the estimator {kind.__name__}")
    genuine(estimator)
    _check_version(root)
    if root == "sklearn":
        _check_settings(kind.__name__)
    if known is not None:
        _check_attributes(estimator, known)


def genuine(estimator: Any) -> None:
    """Raises Unsupported for a class or a method with a library's name that is not the library's own."""
    kind = type(estimator)
    home = sys.modules.get(kind.__module__)
    if getattr(home, kind.__qualname__, None) is not kind:
        raise Unsupported(f"a class of its own named {kind.__name__}")
    for name in _METHODS:
        method = getattr(kind, name, None)
        if method is None:
            continue
        if name in vars(estimator):
            raise Unsupported(f"{kind.__name__} with a {name} of its own")
        found = getattr(method, "__module__", None) or getattr(getattr(method, "fn", None), "__module__", None)
        if found is not None and found.split(".")[0] not in ("sklearn", "xgboost", "lightgbm", "catboost"):
            raise Unsupported(f"{kind.__name__} with a {name} of its own")


def version(root: str) -> tuple[int, int]:
    """Returns major and minor version. (0, 0): there is none."""
    found = re.match(r"(\d+)\.(\d+)", str(getattr(loaded(root), "__version__", "")))
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def _check_version(root: str) -> None:
    first, last = TRIED[root]
    if not first <= version(root) <= last:
        found = ".".join(map(str, version(root)))
        raise Unsupported(f"{root} {found}, with which the compiler was not tried,")


def _check_settings(name: str) -> None:
    """Checks scikit-learn's global settings that change what steps pass to each other."""
    settings = library("sklearn").get_config()
    for setting, plain in (("transform_output", "default"), ("array_api_dispatch", False)):
        if settings.get(setting, plain) != plain:
            raise Unsupported(f"{name} with scikit-learn's setting {setting}={settings[setting]}")


def _check_attributes(estimator: Any, known: Attributes) -> None:
    name, defaults = type(estimator).__name__, dict(_defaults(type(estimator)))
    for attribute, value in vars(estimator).items():
        if attribute in known.honoured or attribute in known.irrelevant or attribute in known.fitted:
            continue
        if attribute == "_sklearn_output_config" and set(value.values()) <= {"default"}:
            continue
        if attribute == "kwargs" and not value:
            continue
        if attribute not in defaults or not _alike(value, defaults[attribute]):
            raise Unsupported(f"{name}.{attribute}{_shown(value)}, which is not known to the compiler,")
    others = getattr(estimator, "_other_params", None) or ()
    for attribute in others if library_of(estimator) == "lightgbm" else ():
        if attribute not in LIGHTGBM_TRAINING:
            raise Unsupported(f"{name}.{attribute}{_shown(others[attribute])}, which is not known to the compiler,")


def _defaults(kind: type) -> Iterator[tuple[str, Any]]:
    """Yields the defaults of the parameters of all constructors, those of the class itself last."""
    for parent in reversed(kind.__mro__):
        if "__init__" in vars(parent) and parent is not object:
            for parameter in inspect.signature(vars(parent)["__init__"]).parameters.values():
                if parameter.default is not inspect.Parameter.empty:
                    yield parameter.name, parameter.default


def _alike(value: Any, default: Any) -> bool:
    if value is default:
        return True
    if type(value) is not type(default) or not isinstance(value, (bool, int, float, str, tuple)):
        return False
    return bool(value == default) or (value != value and default != default)


def _shown(value: Any) -> str:
    """Returns a setting for a message. Data are not shown."""
    text = repr(value) if isinstance(value, (bool, int, float, str, type(None))) else ""
    return f"={text}" if text and len(text) <= _LONGEST else ""
