"""The libraries whose versions an MLmodel file names, and those of which another version is installed."""

from __future__ import annotations

import contextlib
import re
import sys
from importlib import metadata
from typing import Any, Iterator, Mapping

from serinus_runtime.base.libraries import loaded

# The module and its possible distributions, by a flavor's key without `_version`. Others have the same name.
_NAMES = {
    "sklearn": ("sklearn", ("scikit-learn",)),
    "xgb": ("xgboost", ("xgboost", "xgboost-cpu")),
    "lgb": ("lightgbm", ("lightgbm",)),
    "pytorch": ("torch", ("torch",)),
    "tensorflow": ("tensorflow", ("tensorflow", "tensorflow-cpu")),
    "paddle": ("paddle", ("paddlepaddle",)),
    "pyspark": ("pyspark", ("pyspark",)),
}
_VERSION = re.compile(r"\d[\w.!+-]{0,63}")


def own_modules(mlmodel: Mapping[str, Any]) -> set[str]:
    """Returns the top-level modules of the libraries that the model was made with."""
    return {_named(stem)[0] for stem, _ in _of_flavors(mlmodel)}


def differences(mlmodel: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns `{"library", "logged", "installed", "own"}` for each difference.

    Python is the same where its minor version is. A library that is not found under its name is ignored, because
    loading the model shows whether it is needed.
    """
    found = []
    for stem, logged in _of_flavors(mlmodel):
        module, distributions = _named(stem)
        name, installed = _installed(module, distributions)
        if installed and _release(installed) != _release(logged):
            found.append({"library": name, "logged": logged, "installed": installed, "own": True})
    function = mlmodel["flavors"].get("python_function") or {}
    logged = str(function.get("python_version") or "")
    here = "{}.{}".format(*sys.version_info[:2])
    if _VERSION.fullmatch(logged) and logged.split(".")[:2] != here.split("."):
        # cloudpickle writes functions for one version of Python.
        by_code = function.get("loader_module") == "mlflow.pyfunc.model"
        found.append({"library": "python", "logged": logged, "installed": here, "own": by_code})
    return found


def _of_flavors(mlmodel: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for flavor, settings in mlmodel["flavors"].items():
        if flavor == "python_function" or not isinstance(settings, dict):
            continue
        for key, value in settings.items():
            stem = str(key)[: -len("_version")]
            if str(key).endswith("_version") and stem.isidentifier() and _VERSION.fullmatch(str(value)):
                yield stem, str(value)


def _named(stem: str) -> tuple[str, tuple[str, ...]]:
    return _NAMES.get(stem, (stem, (stem.replace("_", "-"),)))


def _installed(module: str, distributions: tuple[str, ...]) -> tuple[str, str]:
    """Returns the distribution and its version. An empty version: it is not installed."""
    for name in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return name, metadata.version(name)
    version = str(getattr(loaded(module), "__version__", ""))
    return module, version if _VERSION.fullmatch(version) else ""


def _release(version: str) -> str:
    """Returns the version without the suffix of a local build."""
    return version.partition("+")[0]
