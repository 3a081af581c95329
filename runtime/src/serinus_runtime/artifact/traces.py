"""The place where loading a model failed, and whether another environment may help.

No request has been answered at that time, so no message contains a value of a caller.
"""

from __future__ import annotations

import re
import sys
import sysconfig
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType, TracebackType
from typing import Iterator

_OURS = str(Path(__file__).parent)
_LOADERS = frozenset(["cloudpickle", "dill", "joblib", "mlflow", "pickle.py", "skops", "torch"])
"""Modules that import what a model's file names."""

DISTRIBUTIONS = {
    "PIL": "pillow", "catboost": "catboost", "category_encoders": "category-encoders", "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil", "feature_engine": "feature-engine", "imblearn": "imbalanced-learn",
    "joblib": "joblib", "keras": "keras", "lightgbm": "lightgbm", "mlflow": "mlflow", "nltk": "nltk", "numpy": "numpy",
    "onnx": "onnx", "onnxruntime": "onnxruntime", "pandas": "pandas", "pkg_resources": "setuptools",
    "polars": "polars", "prophet": "prophet", "pyarrow": "pyarrow", "pyspark": "pyspark", "scipy": "scipy",
    "sentence_transformers": "sentence-transformers", "setuptools": "setuptools", "shap": "shap",
    "sklearn": "scikit-learn", "skops": "skops", "spacy": "spacy", "statsmodels": "statsmodels",
    "tensorflow": "tensorflow", "torch": "torch", "transformers": "transformers", "xgboost": "xgboost",
    "yaml": "pyyaml",
}  # fmt: skip
"""The package of each module that models are known to need. Other names could belong to someone else's package."""


def described(error: BaseException, artifact: Path) -> str:
    """Returns an error's type, the first line of its message and where it was raised."""
    lines = str(error).strip().splitlines()
    message = lines[0][:300] if lines else "no reason given"
    return f"{type(error).__name__}: {message}{at(error, artifact)}"


def at(error: BaseException, artifact: Path | None = None) -> str:
    """Returns ` (sklearn/tree/_classes.py:12, in fit)`. Empty: only the runtime's own code was running."""
    frames = list(_frames(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return f" ({_shown(frame.f_code.co_filename, artifact)}:{line}, in {frame.f_code.co_name})"


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Yields frames from the outermost to the innermost, without those of the runtime and the import system."""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((_OURS, "<frozen importlib")) and "/importlib/" not in name:
            yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _shown(file: str, artifact: Path | None) -> str:
    """Returns `file` relative to the packages, the standard library or the model's directory, or else its name."""
    for part in ("/site-packages/", "/dist-packages/"):
        if part in file:
            return file.rpartition(part)[2]
    for root in (artifact, sysconfig.get_path("stdlib")):
        if root and file.startswith(f"{root}/"):
            return file[len(str(root)) + 1 :]
    return file.rpartition("/")[2] if file.startswith("/") else file


# --- what another environment would change ----------------------------------------------------------------


def broken_file(error: BaseException) -> bool:
    """Whether an error is about a file of the model, which is the same in every environment."""
    if isinstance(error, (EOFError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)):
        return True
    if isinstance(error, (zipfile.BadZipFile, zlib.error)):
        return True
    return isinstance(error, UnpicklingError) and bool(re.search("truncated|exhausted|invalid load key", str(error)))


def import_failure(error: ImportError, artifact: Path) -> tuple[str, bool]:
    """Returns a description, and whether another environment may help."""
    name = error.name or ""
    top = name.partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not top or top in sys.modules:
        # A part of an existing package. Another version may have it elsewhere.
        return (
            f"the model's environment has no {name or 'such library'} as the model needs it: "
            f"{described(error, artifact)}; require the version of it that the model was logged with",
            True,
        )
    if top in DISTRIBUTIONS:
        return (
            f"the model's environment cannot import {name}{at(error, artifact)}; "
            f"add {DISTRIBUTIONS[top]} to the model's requirements and log it again",
            True,
        )
    if _needed_by_a_library(error):
        return f"a library of the model's environment cannot import {name}{at(error, artifact)}", True
    return (
        f"the model needs the module {name}, which is neither among its files nor in its environment"
        f"{at(error, artifact)}; log the model again with code_paths=[...] if it is your own code, and only if it is "
        "a published library with the package that brings it in the requirements",
        False,
    )


def _needed_by_a_library(error: ImportError) -> bool:
    """Whether a library imported it for itself, and not for a model's file that names it."""
    frames = list(_frames(error.__traceback__))
    if not frames:
        return False
    file = frames[-1][0].f_code.co_filename
    for part in ("/site-packages/", "/dist-packages/"):
        if part in file:
            return file.rpartition(part)[2].partition("/")[0] not in _LOADERS
    return False
