"""Loading a model with the libraries of its own environment. This runs the model's code, so the process must be
confined first."""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from serinus_runtime.artifact import traces
from serinus_runtime.artifact.signature import read_mlmodel
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.base.libraries import library, loaded, uncollected

Predict = Callable[[Any], Any]


class Loaded(NamedTuple):
    """A loaded model.

    `public(data)` and `public(data, params=...)` are MLflow's own predict, which enforces the schema each time.
    `direct(data)` is what it calls in the end. `raw` is the estimator behind it, where there is one.
    """

    public: Callable[..., Any]
    direct: Predict
    raw: Any
    flavor: str


def load(artifact: Path, mlmodel: Mapping[str, Any]) -> Loaded:
    """Returns the model. Raises StartFailure, which says what is missing or what the model raised."""
    function = mlmodel["flavors"].get("python_function")
    if not isinstance(function, dict) or "loader_module" not in function:
        raise StartFailure("the model has no python_function flavor; log it with one")
    flavor = str(function["loader_module"])
    try:
        with uncollected():
            return _with_mlflow(artifact, flavor) if _has_mlflow() else _without_mlflow(artifact, function, flavor)
    except ImportError as error:
        message, environment = traces.import_failure(error, artifact)
        raise StartFailure(message, environment=environment) from error
    except MemoryError as error:
        raise StartFailure("the model does not fit into its memory limit", environment=False) from error
    except StartFailure:
        raise
    except SystemExit as error:
        where = traces.at(error, artifact)
        raise StartFailure(
            f"the model ended its process while it was loaded: SystemExit{where}", environment=False
        ) from error
    except Exception as error:
        broken = traces.broken_file(error)
        raise StartFailure(traces.described(error, artifact), environment=not broken) from error


def libraries_of(artifact: Path) -> Sequence[str]:
    """Returns the modules that MLflow would import to load the model. Modules of the model's own code are left out."""
    try:
        flavor = str(read_mlmodel(artifact)["flavors"]["python_function"]["loader_module"])
    except (StartFailure, KeyError, TypeError):  # Loading the model will report it.
        return ()
    if not flavor.startswith("mlflow."):
        return ()
    return ("mlflow.pyfunc", "pandas", flavor, flavor.split(".")[1])


def _has_mlflow() -> bool:
    try:
        library("mlflow")
    except ImportError as error:
        if error.name != "mlflow":
            raise
        return False
    return True


def _with_mlflow(artifact: Path, flavor: str) -> Loaded:
    load_model = library("mlflow.pyfunc").load_model
    # The environment is locked by the model's own requirements. Comparing them again takes longer than loading.
    quietly = {"suppress_warnings": True} if "suppress_warnings" in inspect.signature(load_model).parameters else {}
    model = load_model(str(artifact), **quietly)
    _settle_sklearn()
    implementation = model._model_impl
    direct = getattr(model, "_predict_fn", None) or implementation.predict
    return Loaded(model.predict, direct, _raw(implementation), flavor)


def _settle_sklearn() -> None:
    """Switches off checks of hyper-parameters, which do not change any more, and warnings about matrices without names,
    which are intended where parity is proven on them."""
    sklearn = loaded("sklearn")
    if sklearn is None:
        return
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    if "skip_parameter_validation" in sklearn.get_config():
        sklearn.set_config(skip_parameter_validation=True)


def _without_mlflow(artifact: Path, function: Mapping[str, Any], flavor: str) -> Loaded:
    """Loads a model without MLflow, by its loader module, where that is not MLflow's."""
    if flavor == "mlflow" or flavor.startswith("mlflow."):
        raise StartFailure(
            f"the model is loaded by {flavor}, but its environment has no mlflow; "
            "add mlflow to the model's requirements and log it again"
        )
    if function.get("code"):
        sys.path.insert(0, str(artifact / function["code"]))
    implementation = library(flavor)._load_pyfunc(str(artifact / function.get("data", "")))
    return Loaded(implementation.predict, implementation.predict, implementation, flavor)


# The attributes in which the wrappers of MLflow before 2.13 keep the model.
_WRAPPED = ("sklearn_model", "xgb_model", "lgb_model", "cb_model")


def _raw(implementation: Any) -> Any:
    getter = getattr(implementation, "get_raw_model", None)
    if callable(getter):
        return getter()
    found = (getattr(implementation, name, None) for name in _WRAPPED)
    return next((model for model in found if model is not None), implementation)


def example_of(artifact: Path, mlmodel: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the input example in MLflow's scoring protocol. None: there is none. Raises StartFailure where it is
    broken."""
    serving = artifact / "serving_input_example.json"
    if serving.is_file():
        content = _read(serving)
        return content if isinstance(content, dict) else None
    info = mlmodel.get("saved_input_example_info") or {}
    path = artifact / str(info.get("artifact_path") or "")
    if not path.is_file():
        return None
    content = _read(path)
    if info.get("type") == "dataframe" and info.get("pandas_orient", "split") == "split":
        return {"dataframe_split": content}
    return content if isinstance(content, dict) and "inputs" in content else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StartFailure(f"the input example {path.name} cannot be read ({type(error).__name__})") from error
