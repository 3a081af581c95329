"""What an MLmodel file says of inputs and outputs, without MLflow. Types in MLflow's words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from serinus_runtime.errors import StartFailure

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
DATATYPES = {
    "boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64",
    "string": "BYTES", "binary": "BYTES", "datetime": "BYTES", "any": "BYTES",
}  # fmt: skip
_OF_DTYPE = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}


@dataclass(frozen=True)
class Column:
    """`name` is None in a signature without names; `type` is `any` for arrays, objects and maps."""

    name: str | None
    type: str
    required: bool = True

    @property
    def datatype(self) -> str:
        return DATATYPES[self.type]

    shape = (-1,)


@dataclass(frozen=True)
class TensorSpec:
    name: str | None
    dtype: str
    shape: tuple[int, ...]

    @property
    def datatype(self) -> str:
        return datatype_of(self.dtype)


Spec = Sequence["Column | TensorSpec"]


@dataclass(frozen=True)
class Signature:
    """`columns` or `tensors`, or neither: logged without a signature. `outputs` may be unknown (empty)."""

    columns: tuple[Column, ...] = ()
    tensors: tuple[TensorSpec, ...] = ()
    outputs: tuple[Column | TensorSpec, ...] = ()
    has_params: bool = False

    @property
    def inputs(self) -> Sequence[Column | TensorSpec]:
        return self.columns or self.tensors


def datatype_of(dtype: str) -> str:
    """The Open Inference Protocol's name of a numpy dtype; BYTES for all that is not a number."""
    if dtype in _OF_DTYPE:
        return _OF_DTYPE[dtype]
    return dtype.upper() if dtype.startswith(("int", "uint")) else "BYTES"


def read_mlmodel(artifact: Path) -> Mapping[str, Any]:
    """The MLmodel file as it stands. JSON is YAML, so a file written as JSON needs no PyYAML. Raises StartFailure."""
    path = artifact / "MLmodel"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StartFailure(f"there is no readable MLmodel file in the artifact ({error.strerror})") from error
    try:
        content = json.loads(text)
    except ValueError:
        content = _yaml(text)
    if not isinstance(content, dict) or "flavors" not in content:
        raise StartFailure("the MLmodel file does not list flavors")
    return content


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise StartFailure(
            "the model's environment has neither mlflow nor PyYAML, so its MLmodel file cannot be read; "
            "add mlflow to the model's requirements and log it again"
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StartFailure("the MLmodel file is not YAML") from error


def signature_of(mlmodel: Mapping[str, Any]) -> Signature:
    """Raises StartFailure where the signature cannot be understood."""
    raw = mlmodel.get("signature") or {}
    try:
        inputs, outputs = _specs(raw.get("inputs")), _specs(raw.get("outputs"))
        has_params = bool(json.loads(raw.get("params") or "[]"))
    except (ValueError, KeyError, TypeError) as error:
        raise StartFailure(f"the MLmodel's signature cannot be read ({type(error).__name__})") from error
    columns = tuple(spec for spec in inputs if isinstance(spec, Column))
    tensors = tuple(spec for spec in inputs if isinstance(spec, TensorSpec))
    if columns and tensors:
        raise StartFailure("the MLmodel's signature mixes columns and tensors")
    return Signature(columns, tensors, outputs, has_params)


def _specs(text: str | None) -> tuple[Column | TensorSpec, ...]:
    entries = json.loads(text) if text else []
    return tuple(_spec(entry) for entry in entries)


def _spec(entry: Mapping[str, Any]) -> Column | TensorSpec:
    if entry["type"] == "tensor":
        spec = entry["tensor-spec"]
        return TensorSpec(entry.get("name"), str(spec["dtype"]), tuple(int(size) for size in spec["shape"]))
    required = bool(entry.get("required", not entry.get("optional", False)))
    return Column(entry.get("name"), entry["type"] if entry["type"] in SCALARS else "any", required)
